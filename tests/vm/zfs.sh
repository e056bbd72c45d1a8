#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine: the contract of storage drivers on OpenZFS. /stage holds contract-storage.
# shellcheck disable=SC2154

# contract PATTERN: killed at few points and with few clones, because every command takes a quarter of
# a second here
contract() {
    truncate -s 1G /var/contract.img
    ISOLATE_CONTRACT_DISK=/var/contract.img ISOLATE_CONTRACT_EVERY=400 ISOLATE_CONTRACT_CLONES=20 \
        /stage/contract-storage zfs zfs "$1"
    rm /var/contract.img
}

test_openzfs() {
    modprobe zfs
    fact openzfs "$(cat /sys/module/zfs/version)"
}

test_contract_clones() {
    contract 'clone*'
}

test_contract_templates() {
    contract 'template_*'
}

test_contract_arrivals() {
    contract 'arrival_*'
    contract 'native_*'
}

test_contract_diff() {
    contract 'diff_*'
}

test_contract_commit() {
    contract 'commit_*'
}

test_contract_limit() {
    contract 'limit_*'
}

test_contract_crashes() {
    contract 'crash_commit'
    contract 'crash_clone'
    contract 'crash_arrival'
    contract 'crash_native'
}
