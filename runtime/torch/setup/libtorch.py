#!/usr/bin/env python3
"""Fetch libtorch into a per-user cache folder, once.

libtorch.py DEST [--cuda]

libtorch is taken from the PyPI wheel of torch; no Python is needed at run time. Only the libraries and headers that
the build needs are unpacked, in the wheels' own layout (torch/lib, nvidia/*/lib), so that the RPATHs inside the
libraries resolve by themselves. Every wheel is checked against the sha256 in the lock file. The work is done in a
folder beside DEST that is renamed at the end: an interrupted run leaves nothing half made, and the next one starts over.

--cuda adds the libraries that `valence --device cuda` loads at run time (about 4 GB more).
"""
import argparse
import fcntl
import glob
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
CPU = re.compile(r"torch/lib/(libtorch_cpu|libc10|libgomp|libtorch_global_deps)\.so[^/]*$|torch/include/|nvidia/.+/lib/lib[^/]+\.so[^/]*$"
                 r"|[^/]+\.dist-info/(licenses/)?(LICENSE|NOTICE|License)[^/]*$")
CUDA = re.compile(r"torch/lib/(libtorch_cuda|libtorch_cuda_linalg|libtorch_nvshmem|libc10_cuda|libcaffe2_nvrtc)\.so[^/]*$"
                  r"|nvidia/.+/lib/lib[^/]+\.so[^/]*$|[^/]+\.dist-info/(licenses/)?(LICENSE|NOTICE|License)[^/]*$")


def requirements(lock):
    """Yields (requirement, sha256) of each line of a lock file."""
    with open(os.path.join(HERE, lock)) as f:
        for line in f:
            m = re.match(r"(\S+==\S+) --hash=sha256:([0-9a-f]{64})$", line.strip())
            if m:
                yield m.groups()


def download(requirement, folder):
    """Downloads one wheel for CPython 3.11 on x86-64 Linux, whatever Python runs this script."""
    os.makedirs(folder)
    subprocess.run([sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--implementation", "cp",
                    "--python-version", "3.11", "--abi", "cp311", "--abi", "none",
                    *[f"--platform=manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)], "--platform=manylinux2014_x86_64",
                    "--dest", folder, requirement], check=True)
    wheel, = os.listdir(folder)
    return os.path.join(folder, wheel)


def check(path, want):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != want:
        sys.exit(f"libtorch: {os.path.basename(path)} has sha256 {digest.hexdigest()}, not {want} as locked: "
                 "the package index served another file; nothing was installed")


def unpack(wheel, keep, dest):
    with zipfile.ZipFile(wheel) as z:
        members = [i for i in z.infolist() if keep.search(i.filename)]
        print(f"unpacking {len(members)} files, {sum(i.file_size for i in members) / 1e6:,.0f} MB", flush=True)
        for i in members:
            z.extract(i, dest)
    os.remove(wheel)


def install(lock, keep, dest, marker):
    """Unpacks every wheel of the lock file into dest and leaves marker there when all of it is in place."""
    if os.path.exists(os.path.join(dest, marker)):
        return
    parent = os.path.dirname(dest)
    for left in glob.glob(os.path.join(glob.escape(parent), ".libtorch-*")):  # by a run that was killed: we hold the lock
        shutil.rmtree(left, ignore_errors=True)
    free = shutil.disk_usage(parent).free
    need = 12e9 if marker == "cuda.ok" else 2.5e9
    if free < need:
        sys.exit(f"libtorch: {parent} has {free / 1e9:.1f} GB free; {need / 1e9:.1f} GB are needed while unpacking")
    print(f"fetching libtorch for {marker[:-3]} into {dest}", flush=True)
    tmp = tempfile.mkdtemp(prefix=".libtorch-", dir=parent)
    try:
        for n, (requirement, want) in enumerate(requirements(lock)):
            wheel = download(requirement, os.path.join(tmp, str(n)))
            check(wheel, want)
            unpack(wheel, keep, os.path.join(tmp, "out"))
        if os.path.isdir(dest):
            shutil.copytree(os.path.join(tmp, "out"), dest, dirs_exist_ok=True, copy_function=os.replace)
        else:
            os.rename(os.path.join(tmp, "out"), dest)
        open(os.path.join(dest, marker), "w").close()
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dest")
    p.add_argument("--cuda", action="store_true")
    a = p.parse_args()
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit(f"libtorch: this project builds on x86-64 Linux; this is {platform.system()} on {platform.machine()}")
    dest = os.path.abspath(a.dest)
    os.makedirs(os.path.dirname(dest), exist_ok=True)
    with open(dest + ".lock", "w") as lock:  # two makes at once: the second waits, then finds the work done
        fcntl.flock(lock, fcntl.LOCK_EX)
        install("cpu.lock", CPU, dest, "cpu.ok")
        if a.cuda:
            install("cuda.lock", CUDA, dest, "cuda.ok")


if __name__ == "__main__":
    main()
