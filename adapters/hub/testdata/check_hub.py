# /// script
# requires-python = ">=3.10"
# dependencies = ["huggingface-hub==0.36.2"]
# ///
"""Hold this package and its test hub against huggingface_hub, in a temporary cache.

    python check_hub.py            check everything; the Go tool must be in the path
    python check_hub.py --write    write layout.json again: the cache as huggingface_hub leaves it, by path
                                   "text:..." or "hex:..." a file's content, "link:..." a link's target

What is checked: huggingface_hub against the test hub (create_repo, upload_folder, hf_hub_download,
snapshot_download, branches and tags, private and gated repositories, faults), and both clients on one cache.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import urllib.request

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
TOKENS = {"hf_alice": "alice", "hf_bob": "bob"}
ADAPTER = {
    "adapter_config.json": b'{"peft_type": "IA3"}\n',
    "adapter_model.safetensors": bytes(range(256)) * 8,
    "README.md": b"---\nlibrary_name: peft\n---\n# Reviews\n",
}
FILES = ["adapter_config.json", "adapter_model.safetensors", "README.md"]


def build(folder, package, name):
    subprocess.run(["go", "build", "-o", folder / name, package], cwd=ROOT, check=True, env={**os.environ, "CGO_ENABLED": "0"})
    return folder / name


@contextlib.contextmanager
def test_hub(binary):
    tokens = [a for token, user in TOKENS.items() for a in ("-token", f"{token}={user}")]
    with subprocess.Popen([binary, *tokens], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def ask(endpoint, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{endpoint}/-/{path}", data=data, method=method)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def fails(kind, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind:
        return
    raise AssertionError(f"{call.__name__} did not raise {kind.__name__}")


def write_folder(folder, contents):
    folder.mkdir()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


def go_client(binary, cache, endpoint, *args, offline=False):
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(cache), "HF_TOKEN": "hf_alice", "HF_HUB_OFFLINE": str(int(offline))}
    run = subprocess.run([binary, *args], env=env, capture_output=True, text=True)
    if run.returncode != 0:
        raise AssertionError(f"client {args}: {run.stderr}")
    return run.stdout.strip()


def layout(cache):
    entries = {}
    for path in sorted(cache.rglob("*")):
        name = path.relative_to(cache).as_posix()
        if path.is_symlink():
            entries[name] = "link:" + os.readlink(path)
        elif path.is_file():
            data = path.read_bytes()
            text = data.isascii() and data.decode("ascii")
            entries[name] = "text:" + text if text is not False else "hex:" + data.hex()
    return entries


def check_client_against_hub(api, endpoint, work):
    from huggingface_hub import CommitOperationDelete
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    url = api.create_repo("alice/reviews")
    assert url.repo_id == "alice/reviews", url
    fails(HfHubHTTPError, api.create_repo, "alice/reviews")
    api.create_repo("alice/reviews", exist_ok=True)
    fails(HfHubHTTPError, api.create_repo, "bob/reviews")
    first = api.upload_folder(repo_id="alice/reviews", folder_path=write_folder(work / "adapter", ADAPTER), commit_message="add an adapter")
    again = api.upload_folder(repo_id="alice/reviews", folder_path=work / "adapter", commit_message="add it again")
    assert again.oid == first.oid, "a commit without a change"
    assert sorted(api.list_repo_files("alice/reviews")) == sorted([".gitattributes", *ADAPTER])
    tree = {f.path: f for f in api.list_repo_tree("alice/reviews", recursive=True)}
    assert tree["adapter_model.safetensors"].lfs.size == len(ADAPTER["adapter_model.safetensors"])
    api.create_branch("alice/reviews", branch="work/next")
    api.create_tag("alice/reviews", tag="v1")
    second = api.upload_file(repo_id="alice/reviews", path_or_fileobj=b"{}", path_in_repo="valence.json", revision="work/next")
    api.create_commit("alice/reviews", [CommitOperationDelete("README.md")], commit_message="drop", revision="work/next")
    assert {r.name: r.target_commit for r in api.list_repo_refs("alice/reviews").tags} == {"v1": first.oid}
    assert [c.commit_id for c in api.list_repo_commits("alice/reviews", revision="work/next")][1:3] == [second.oid, first.oid]
    fails(HfHubHTTPError, api.create_commit, "alice/reviews", [CommitOperationDelete("no")], commit_message="x", parent_commit=first.oid)
    fails(HfHubHTTPError, api.upload_file, repo_id="alice/reviews", path_or_fileobj=b"", path_in_repo="a", token="hf_bob")

    folder = pathlib.Path(api.snapshot_download("alice/reviews", revision="v1"))
    assert folder.name == first.oid
    for name, data in ADAPTER.items():
        assert (folder / name).read_bytes() == data, name
    assert pathlib.Path(api.hf_hub_download("alice/reviews", "valence.json", revision="work/next")).read_bytes() == b"{}"
    fails(EntryNotFoundError, api.hf_hub_download, "alice/reviews", "valence.json")
    fails(RevisionNotFoundError, api.hf_hub_download, "alice/reviews", "README.md", revision="no")
    fails(RepositoryNotFoundError, api.hf_hub_download, "alice/no", "README.md")

    api.create_repo("alice/secret", private=True)
    api.upload_file(repo_id="alice/secret", path_or_fileobj=b"secret", path_in_repo="a.bin")
    fails(RepositoryNotFoundError, api.hf_hub_download, "alice/secret", "a.bin", token="hf_bob")
    fails(HfHubHTTPError, api.hf_hub_download, "alice/secret", "a.bin", token="hf_nobody")
    ask(endpoint, "GET", "requests")
    api.hf_hub_download("alice/secret", "a.bin")
    assert not [r for r in ask(endpoint, "GET", "requests") if r["Host"] == "storage" and r["Authorization"]]

    ask(endpoint, "POST", "faults", {"kind": "status", "status": 403, "code": "GatedRepo", "message": "gated", "path": "/resolve/"})
    fails(GatedRepoError, api.hf_hub_download, "alice/reviews", "README.md", cache_dir=work / "empty")
    ask(endpoint, "DELETE", "faults")
    for fault in ({"kind": "cut", "bytes": 1000}, {"kind": "wrong_length", "bytes": -1}):
        ask(endpoint, "POST", "faults", {**fault, "method": "GET", "path": "/objects/"})
        fails(OSError, api.hf_hub_download, "alice/reviews", "adapter_model.safetensors", cache_dir=work / "empty")
        ask(endpoint, "DELETE", "faults")
    path = api.hf_hub_download("alice/reviews", "adapter_model.safetensors", cache_dir=work / "empty")
    assert pathlib.Path(path).read_bytes() == ADAPTER["adapter_model.safetensors"]
    return first.oid


def check_shared_cache(api, client, endpoint, commit, work):
    from huggingface_hub import hf_hub_download

    # What the Go client wrote, huggingface_hub finds without a network.
    cache = work / "from-go"
    assert go_client(client, cache, endpoint, "pull", "alice/reviews", "main") == commit
    for name in FILES:
        path = pathlib.Path(hf_hub_download("alice/reviews", name, cache_dir=cache, local_files_only=True))
        assert path.read_bytes() == ADAPTER[name] and path.is_symlink(), name
    assert go_client(client, cache, endpoint, "pull", "alice/reviews", "main", offline=True) == commit

    # And the other way; the fourth file's absence is found too.
    cache = work / "from-python"
    fetch(api, cache)
    assert go_client(client, cache, endpoint, "pull", "alice/reviews", "main", offline=True) == commit
    ask(endpoint, "GET", "requests")
    assert go_client(client, cache, endpoint, "pull", "alice/reviews", "main") == commit
    assert not [r for r in ask(endpoint, "GET", "requests") if r["Host"] == "storage"], "fetched again"

    # What either was interrupted in, the other completes.
    blob = next((cache / "models--alice--reviews" / "blobs").glob("?" * 64))
    for resume in (
        lambda: go_client(client, cache, endpoint, "pull", "alice/reviews", "main"),
        lambda: api.hf_hub_download("alice/reviews", "adapter_model.safetensors", cache_dir=cache),
    ):
        incomplete = blob.with_name(blob.name + ".incomplete")
        blob.rename(incomplete)
        os.truncate(incomplete, 500)
        ask(endpoint, "GET", "requests")
        resume()
        assert [r["Range"] for r in ask(endpoint, "GET", "requests") if r["Host"] == "storage"] == ["bytes=500-"]
        assert blob.read_bytes() == ADAPTER["adapter_model.safetensors"] and not incomplete.exists()

    # Each waits for the other's lock.
    from huggingface_hub.utils import WeakFileLock

    lock = next((cache / ".locks" / "models--alice--reviews").glob("?" * 64 + ".lock"))
    blob.unlink()
    with WeakFileLock(lock):
        waiting = threading.Thread(target=go_client, args=(client, cache, endpoint, "pull", "alice/reviews", "main"))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive() and not blob.exists(), "the lock did not hold"
    waiting.join()
    assert blob.exists()

    # What the Go client pushes, huggingface_hub reads.
    pushed = go_client(client, cache, endpoint, "push", "alice/pushed", work / "adapter")
    assert api.model_info("alice/pushed").sha == pushed
    folder = pathlib.Path(api.snapshot_download("alice/pushed"))
    assert all((folder / name).read_bytes() == data for name, data in ADAPTER.items())
    assert go_client(client, cache, endpoint, "push", "alice/pushed", work / "adapter") == pushed, "a commit without a change"


def fetch(api, cache):
    from huggingface_hub.errors import EntryNotFoundError

    for name in FILES:
        api.hf_hub_download("alice/reviews", name, cache_dir=cache)
    fails(EntryNotFoundError, api.hf_hub_download, "alice/reviews", "valence.json", cache_dir=cache)


def main():
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        hub = build(work, "./adapters/hub/hubtest/cmd", "hub")
        client = build(work, "./adapters/hub/testdata/client", "client")
        with test_hub(hub) as endpoint:
            os.environ.update(
                HF_ENDPOINT=endpoint, HF_HOME=str(work / "home"), HF_TOKEN="hf_alice", HF_HUB_DISABLE_XET="1",
                HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_TELEMETRY="1",
            )  # fmt: skip
            for other in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
                os.environ.pop(other, None)
            from huggingface_hub import HfApi, __version__  # reads the environment

            api = HfApi()
            commit = check_client_against_hub(api, endpoint, work)
            check_shared_cache(api, client, endpoint, commit, work)
            fetch(api, work / "layout")
            found = layout(work / "layout")
            if "--write" in sys.argv[1:]:
                (HERE / "layout.json").write_text(json.dumps(found, indent=1) + "\n")
            assert found == json.loads((HERE / "layout.json").read_text()), "layout.json is not what huggingface_hub writes"
            print(f"huggingface_hub {__version__}: all well")


if __name__ == "__main__":
    main()
