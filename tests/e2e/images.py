# SPDX-License-Identifier: Apache-2.0
"""Images for tests: OCI layouts and archives of `docker save`, made entry by entry."""

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
OTHER_ARCHITECTURE = "s390x" if ARCHITECTURE != "s390x" else "amd64"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"
MTIME = 1_500_000_000


# ---- entries of layers ----


def entry(name, kind=tarfile.REGTYPE, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.mtime = MTIME
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def file(name, data=b"", **fields):
    return entry(name, data=data.encode() if isinstance(data, str) else data, **fields)


def directory(name, **fields):
    return entry(name, tarfile.DIRTYPE, **fields)


def link(name, to, **fields):
    return entry(name, tarfile.SYMTYPE, linkname=to, **fields)


def hard_link(name, to, **fields):
    return entry(name, tarfile.LNKTYPE, linkname=to, **fields)


def gone(name):
    """The whiteout of a name."""
    head, _, tail = name.rpartition("/")
    return file(f"{head}/.wh.{tail}" if head else f".wh.{tail}")


def opaque(name):
    return file(f"{name}/.wh..wh..opq" if name else ".wh..wh..opq")


def layer_tar(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tree_tar(path):
    """A whole directory."""
    return subprocess.run(["tar", "--numeric-owner", "--xattrs", "-cf", "-", "-C", path, "."], check=True,
                          capture_output=True).stdout


def compressed(data, how):
    if how == "gzip":
        return gzip.compress(data, 1, mtime=0)
    if how == "zstd":
        return subprocess.run(["zstd", "-q", "-c"], input=data, check=True, capture_output=True).stdout
    assert how is None
    return data


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


# ---- layouts ----


class Layout:
    """An OCI layout; what is wrong with it is the test's."""

    def __init__(self, path):
        self.path = path
        self.manifests = []
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob_path(self, of):
        return self.path / "blobs/sha256" / of["digest"].split(":")[1]

    def blob(self, data, media_type, **more):
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
        described = {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}
        self.blob_path(described).write_bytes(data)
        return described

    def layer(self, content, how="gzip", media_type=None):
        """(descriptor, digest of what is in it) of a list of entries, or of a tar archive's bytes."""
        tar = content if isinstance(content, bytes) else layer_tar(content)
        suffix = f"+{how}" if how else ""
        return self.blob(compressed(tar, how), media_type or LAYER + suffix), digest(tar)

    def manifest(self, layers, config=None, architecture=ARCHITECTURE, **changes):
        """The descriptor of an image: layers as `layer` gives them or takes them."""
        layers = [each if isinstance(each, tuple) else self.layer(each) for each in layers]
        configuration = {
            "architecture": architecture, "os": "linux", "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        }
        configuration.update(changes.pop("configuration", {}))
        value = {
            "schemaVersion": 2, "mediaType": MANIFEST, "config": self.blob(configuration, CONFIG),
            "layers": [described for described, _ in layers],
        }
        value.update(changes)
        return self.blob(value, MANIFEST)

    def tag(self, described, name=None, **more):
        if name is not None:
            described = {**described, "annotations": {REF_NAME: name}}
        self.manifests.append({**described, **more})
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests}
        (self.path / "index.json").write_text(json.dumps(index))
        return self

    def image(self, *layers, tag=None, **more):
        return self.tag(self.manifest(layers, **more), tag)

    def __str__(self):
        return f"oci:{self.path}"


def docker_archive(path, layers, config=None, *, tags=("test:latest",), legacy=True, compress=None):
    """What `docker save` writes, with layers (tar archives) in directories, or as an OCI layout."""
    configuration = json.dumps({
        "architecture": ARCHITECTURE, "os": "linux", "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in layers]},
    }).encode()
    members, names = [], []
    for i, tar in enumerate(layers):
        if legacy:
            names.append(f"layer{i}/layer.tar")
            if tar in layers[:i]:  # docker links what it has written already
                members.append(link(names[i], f"../{names[layers.index(tar)]}"))
                continue
        else:
            names.append(f"blobs/sha256/{digest(tar)[7:]}")
        members.append(file(names[i], tar))
    name = digest(configuration)[7:]
    name = f"{name}.json" if legacy else f"blobs/sha256/{name}"
    members.append(file(name, configuration))
    manifest = [{"Config": name, "RepoTags": list(tags), "Layers": names}]
    members.append(file("manifest.json", json.dumps(manifest)))
    path.write_bytes(compressed(layer_tar(members), compress))
    return f"docker-archive:{path}"
