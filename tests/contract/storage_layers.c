/* SPDX-License-Identifier: Apache-2.0 */
/* Layers of images: what several have in common is there once, for as long as one of them is.
 */
#include "storage_fixture.h"

#include "base/text.h"
#include "storage/layers.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

/* What each layer changes; all that it touches gets a time that does not depend on the clock.
 */
static const char *const layers[] = {
    ("mkdir -p d/e gone/sub; echo 1 > d/a; echo 1 > d/b; ln d/a d/c; echo x > gone/x; "
     "echo x > gone/sub/x; chmod 1751 .; touch -d @1500000000 d/a d/b gone/x gone/sub/x "
     "gone/sub "
     "gone d/e d ."),
    ("rm d/a; echo 2 > d/b; rm -r gone; mkdir gone; echo y > gone/y; rm -r usr/lib; "
     "echo file > usr/lib; rm etc/passwd; mkdir etc/passwd; chmod 700 d/e; chown 7:8 d/c; "
     "touch -d @1500000001 d/b gone/y gone usr/lib usr etc/passwd etc d ."),
    ("rm -r gone etc/passwd; rm d/b; echo back > d/a; ln d/a d/z; chmod 4755 d/c; "
     "touch -d @1500000002 d/a d etc ."),
};
static const struct layer_content contents[] = {
    {"sha256:1", "sha256:a"}, {"sha256:2", "sha256:b"}, {"sha256:3", ""}};
static const struct layer_content own = {"", ""};

static void run(int dir_fd, const char *script)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        /* it says on stderr that the directory has no path */
        _cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (fchdir(dir_fd) == 0 && dup2(null, STDERR_FILENO) >= 0)
            (void)execl("/bin/sh", "sh", "-ec", script, NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void fill(int dir_fd, size_t i)
{
    if (i == 0) {
        populate(dir_fd);
        if (fixture.has_xattrs)
            assert_int_equal(fsetxattr(dir_fd, "user.of-the-root", "x", 1, 0), 0);
    }
    run(dir_fd, layers[i]);
}

static size_t count_in(const char *directory)
{
    size_t n = 0;
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(fixture.storage.dir_fd, directory));
    assert_non_null(dir);
    struct dirent *entry = NULL;
    while (dir_next(dir, &entry) > 0)
        n++;
    return n;
}

static void collect(void)
{
    assert_ok(fixture.storage.driver->collect(&fixture.storage, &err));
}

static void remove_template(const char *name)
{
    assert_ok(fixture.storage.driver->remove_template(&fixture.storage, name, &err));
    collect();
}

/* ---- one image ---- */

struct image {
    struct storage storage; /* its import has a lock of its own */
    char key[64];
    struct layering *layering;
};

static void image_begin(struct image *image)
{
    int tree = -EBADF;
    image->storage = fixture.storage;
    image->storage.import_fd = -EBADF;
    assert_ok(fixture.storage.driver->import(&image->storage, image->key, sizeof(image->key),
                                             &tree, &err));
    fd_close(tree);
    assert_ok(fixture.storage.driver->layers->open(&image->storage, image->key,
                                                   &image->layering, &err));
}

/* Whether the layer was there. */
static bool image_layer(struct image *image, size_t i)
{
    struct error why = {0};
    int mount = -EBADF;
    int r = fixture.storage.driver->layers->begin(image->layering, &contents[i], &mount, &why);
    if (r < 0)
        fail_msg("%s", why.text);
    if (r != LAYER_NEW) {
        assert_int_equal(r, *contents[i].blob ? LAYER_FOUND_BLOB : LAYER_FOUND);
        return true;
    }
    int root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(root >= 0);
    fill(root, i);
    fd_close(root);
    fd_close(mount);
    assert_ok(fixture.storage.driver->layers->end(image->layering, &err));
    return false;
}

static void image_publish(struct image *image, const char *name)
{
    char generation[GENERATION_SIZE];
    struct template_info info = {.source = "test"};
    (void)snprintf(info.name, sizeof(info.name), "%s", name);
    assert_ok(
        fixture.storage.driver->layers->publish(image->layering, &info, generation, &err));
}

static void image_end(struct image *image)
{
    fixture.storage.driver->layers->close(image->layering);
    fd_close(image->storage.import_fd);
}

/* An image of the first n layers. */
static void make_image(const char *name, size_t n, size_t n_there)
{
    struct image image;
    image_begin(&image);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(image_layer(&image, i), i < n_there);
    image_publish(&image, name);
    image_end(&image);
}

/* The same in one tree. */
static void make_flat(const char *name, size_t n)
{
    char key[64];
    char generation[GENERATION_SIZE];
    int tree = -EBADF;
    struct storage *storage = &fixture.storage;
    struct template_info info = {.source = "test"};
    (void)snprintf(info.name, sizeof(info.name), "%s", name);
    assert_ok(storage->driver->import(storage, key, sizeof(key), &tree, &err));
    for (size_t i = 0; i < n; i++)
        fill(tree, i);
    fd_close(tree);
    assert_ok(storage->driver->publish(storage, key, &info, generation, &err));
}

static void assert_same(const char *a, const char *b)
{
    _cleanup_buffer_ struct buffer one = {0};
    _cleanup_buffer_ struct buffer other = {0};
    template_list_tree(a, NULL, &one);
    template_list_tree(b, NULL, &other);
    assert_string_equal(one.data, other.data);
}

void layers_same_tree(void **state)
{
    for (size_t n = 1; n <= ELEMENTS(layers); n++) {
        make_image("image", n, n - 1);
        make_flat("flat", n);
        assert_same("image", "flat");
        remove_template("flat");
        if (n == ELEMENTS(layers))
            break;
        /* the next one is made over what is there */
        make_image("kept", n, n);
        remove_template("image");
        if (n > 1)
            remove_template("older");
        make_image("older", n, n);
        remove_template("kept");
    }
}

void layers_shared(void **state)
{
    size_t before = count_in("layers");
    make_image("one", 2, 0);
    assert_int_equal(count_in("layers"), before + 2);
    make_image("two", 3, 2);
    assert_int_equal(count_in("layers"), before + 3);
    make_image("same", 3, 3);
    assert_int_equal(count_in("layers"), before + 3);
    assert_int_equal(count_in("imports"), 0);
    assert_same("two", "same");
    remove_template("two");
    assert_int_equal(count_in("layers"), before + 3);
    remove_template("same");
    assert_int_equal(count_in("layers"), before + 2);
    make_flat("flat", 2);
    assert_same("one", "flat");
    /* what a clone commits on top is its own */
    char generation[GENERATION_SIZE];
    char clone[CLONE_NAME_SIZE];
    struct template_info info = {.name = "one", .source = "test"};
    clone_name(0, clone);
    assert_ok(clone_make("one", NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, "echo x > new"), 0);
    assert_ok(
        fixture.storage.driver->commit(&fixture.storage, clone, NULL, &info, generation, &err));
    make_image("two", 3, 2);
    assert_ok(fixture.storage.driver->destroy(&fixture.storage, clone, &err));
    remove_template("one");
    make_flat("three", 3);
    assert_same("two", "three");
}

/* What came in another file is the same layer, which the caller may have to be told. */
void layers_packed_otherwise(void **state)
{
    struct image image;
    int mount = -EBADF;
    const struct layer_content other = {contents[0].chain, "sha256:other"};
    const struct layer_content unknown = {contents[1].chain, ""};
    make_image("one", 2, 0);
    image_begin(&image);
    assert_int_equal(
        fixture.storage.driver->layers->begin(image.layering, &other, &mount, NULL),
        LAYER_FOUND);
    assert_int_equal(
        fixture.storage.driver->layers->begin(image.layering, &unknown, &mount, NULL),
        LAYER_FOUND);
    image_publish(&image, "two");
    image_end(&image);
    assert_same("one", "two");
}

/* An import needs the layers that it found, whoever removes the templates that had them. */
void layers_held(void **state)
{
    struct image image;
    size_t before = count_in("layers");
    make_image("one", 2, 0);
    image_begin(&image);
    assert_true(image_layer(&image, 0));
    assert_true(image_layer(&image, 1));
    remove_template("one");
    assert_int_equal(count_in("layers"), before + 2);
    assert_false(image_layer(&image, 2));
    collect();
    image_publish(&image, "two");
    image_end(&image);
    make_flat("flat", 3);
    assert_same("two", "flat");
    /* one that gives up needs them no more */
    remove_template("flat");
    image_begin(&image);
    assert_true(image_layer(&image, 0));
    remove_template("two");
    assert_int_equal(count_in("layers"), before + 1);
    image_end(&image);
    collect();
    assert_int_equal(count_in("layers"), before);
    assert_int_equal(count_in("imports"), 0);
}

/* It is gone when its turn comes: then it is made anew. */
void layers_gone(void **state)
{
    struct image image;
    make_image("one", 2, 0);
    image_begin(&image);
    assert_true(image_layer(&image, 0));
    remove_template("one");
    assert_false(image_layer(&image, 1));
    image_publish(&image, "two");
    image_end(&image);
    make_flat("flat", 2);
    assert_same("two", "flat");
}

/* Who publishes second has what the first one has. */
void layers_made_twice(void **state)
{
    struct image one;
    struct image two;
    size_t before = count_in("layers");
    image_begin(&one);
    image_begin(&two);
    for (size_t i = 0; i < 2; i++) {
        assert_false(image_layer(&one, i));
        assert_false(image_layer(&two, i));
    }
    assert_false(image_layer(&two, 2));
    image_publish(&one, "one");
    image_publish(&two, "two");
    image_end(&one);
    image_end(&two);
    assert_int_equal(count_in("layers"), before + 3);
    make_flat("flat", 3);
    assert_same("two", "flat");
}

/* Without a chain a layer is nobody else's, and none at all where it changes nothing. */
void layers_own(void **state)
{
    struct image image;
    int mount = -EBADF;
    size_t before = count_in("layers");
    for (int changed = 0; changed < 2; changed++) {
        image_begin(&image);
        (void)image_layer(&image, 0);
        assert_ok(fixture.storage.driver->layers->begin(image.layering, &own, &mount, &err));
        if (changed)
            run(mount, "echo own > own");
        fd_close(mount);
        assert_ok(fixture.storage.driver->layers->end(image.layering, &err));
        image_publish(&image, changed ? "changed" : "same");
        image_end(&image);
        assert_int_equal(count_in("layers"), before + 1 + (changed ? 1 : 0));
    }
    make_flat("flat", 1);
    assert_same("same", "flat");
}

static int step_image(void *data)
{
    int mount = -EBADF;
    char generation[GENERATION_SIZE];
    struct image image = {.storage = fixture.storage};
    struct template_info info = {.name = "new", .source = "test"};
    const struct storage_driver *driver = fixture.storage.driver;
    image.storage.import_fd = -EBADF;
    _cleanup_close_ int tree = -EBADF;
    int r = driver->import(&image.storage, image.key, sizeof(image.key), &tree, NULL);
    if (r == 0)
        r = driver->layers->open(&image.storage, image.key, &image.layering, NULL);
    for (size_t i = 0; r >= 0 && i < 2; i++) {
        r = driver->layers->begin(image.layering, &contents[i], &mount, NULL);
        if (r != 0)
            continue;
        if (mkdirat(mount, i ? "opt" : "etc", 0755) < 0)
            r = -errno;
        fd_close(mount);
        if (r == 0)
            r = driver->layers->end(image.layering, NULL);
    }
    if (r >= 0)
        r = driver->layers->publish(image.layering, &info, generation, NULL);
    driver->layers->close(image.layering);
    return r;
}

void layers_crash(void **state)
{
    bool complete = false;
    size_t before = count_in("layers");
    for (unsigned n = 0; !complete && n < CRASH_STEPS_MAX; n += crash_every()) {
        struct template_info info;
        complete = killed_at(n, step_image, NULL);
        collect();
        assert_int_equal(count_in("imports"), 0);
        int found = fixture.storage.driver->find(&fixture.storage, "new", &info, NULL);
        assert_true(found == 1 || (found == 0 && !complete));
        assert_int_equal(count_in("layers"), before + (found ? 2 : 0));
        if (!found)
            continue;
        _cleanup_buffer_ struct buffer tree = {0};
        template_list_tree("new", NULL, &tree);
        assert_non_null(strstr(tree.data, "opt"));
        remove_template("new");
    }
    assert_true(complete);
}
