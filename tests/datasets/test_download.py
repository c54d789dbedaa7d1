"""Downloads from a server in this process: ranges, broken transfers, wrong content, archives, records, datasets."""

import errno
import gzip
import hashlib
import io
import json
import re
import shutil
import socket
import tarfile
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import Mock
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import yaml
from helpers import failure, kd_trainer

from kd_trainer.datasets import download, placing, transfer
from kd_trainer.datasets.fetching import items_of
from kd_trainer.errors import InputError

CONTENT = np.random.default_rng(3).bytes(300_000)
Request = namedtuple("Request", "method path range")


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files` (path to content); `server.cuts` holds where to break off, for one request each."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(send=False)

    def do_GET(self):
        self.answer(send=True)

    def answer(self, send):
        server, path = self.server, unquote(urlsplit(self.path).path)
        server.requests.append(Request(self.command, path, self.headers.get("Range")))
        content = server.files.get(path)
        status = 404 if content is None else server.troubles.pop() if server.troubles and send else 200
        content, start = content or b"", 0
        if status == 200 and server.ranges and (wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))):
            start, status = int(wanted[1]), 206 if int(wanted[1]) < len(content) else 416
        body = content[start:] if status in (200, 206) else b""
        self.send_response(status)
        self.send_header("Content-Length", len(body))
        for name, value in server.headers.get(path, {}).items():
            self.send_header(name, value)
        self.end_headers()
        if send:
            stop = server.cuts.pop() if server.cuts else len(body)
            self.wfile.write(body[:stop])
            self.close_connection = stop < len(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    """Does not print errors about clients that stop, because they would mix with the output of the command."""

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server of files on this machine; nothing waits between tries."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.files, server.headers, server.cuts, server.troubles, server.requests = {}, {}, [], [], []
        server.ranges, server.url = True, f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        monkeypatch.setattr(transfer, "PAUSE", 0)
        monkeypatch.setattr(transfer, "BLOCK", 1000)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def offer(server, tmp_path, monkeypatch):
    """Puts a file on the server and into the table, which holds nothing else."""
    table = {}

    def add(file, content=CONTENT, check=None, **part):
        server.files[f"/{file}"] = content
        check = check or {"md5": hashlib.md5(content).hexdigest()}
        table.setdefault("group", []).append({"url": f"{server.url}/{file}", "to": "there", **check, **part})
        (tmp_path / "table.yaml").write_text(yaml.safe_dump(table))

    monkeypatch.setattr(download, "TABLE", tmp_path / "table.yaml")
    return add


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


def get(folder, *names):
    return kd_trainer("download", *names, "-d", folder).stdout


def fails(folder, *names):
    line = failure("download", *names, "-d", folder)
    assert line.startswith("kd_trainer download: ")
    return line


def ranges(server):
    return [request.range for request in server.requests if request.method == "GET"]


def git_blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def archive(members):
    """A tar file of names and contents."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return out.getvalue()


class TestTransfer:
    def test_file_arrives_and_is_recognised(self, server, offer, folder):
        offer("model.pt", check={"git_blob": git_blob(CONTENT)}, name="Sophon.pt")
        assert "1 items, 0 of them already" in get(folder, "Sophon.pt")
        assert (folder / "there" / "Sophon.pt").read_bytes() == CONTENT
        server.requests.clear()
        assert "1 items, 1 of them already" in get(folder, "group")
        assert server.requests == []

    def test_git_blob_of_git(self, tmp_path):
        """The id that `git hash-object` gives to an empty file and to "hello\\n"."""
        ids = {b"": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", b"hello\n": "ce013625030ba8dba906f756967f9e9ca394464a"}
        for content, blob in ids.items():
            (tmp_path / "x").write_bytes(content)
            assert transfer.matches(tmp_path / "x", f"git_blob:{blob}")
            assert not transfer.matches(tmp_path / "x", f"git_blob:{blob[:-1]}0")

    def test_broken_transfer_goes_on(self, server, offer, folder):
        offer("a.pt")
        server.cuts = [1000, 100_000]  # the last one first
        get(folder, "a.pt")
        assert (folder / "there" / "a.pt").read_bytes() == CONTENT
        assert ranges(server) == [None, "bytes=100000-", "bytes=101000-"]
        assert [path.name for path in (folder / "there").iterdir()] == ["a.pt"]

    def test_the_next_call_goes_on(self, server, offer, folder):
        offer("a.pt")
        server.cuts = [0] * transfer.TRIES + [5000]
        line = fails(folder, "a.pt")
        assert "the transfer broke off" in line and "the same command goes on" in line
        assert not (folder / "there" / "a.pt").exists()
        get(folder, "a.pt")
        assert (folder / "there" / "a.pt").read_bytes() == CONTENT and ranges(server)[-1] == "bytes=5000-"

    def test_server_without_ranges(self, server, offer, folder):
        offer("a.pt")
        server.ranges, server.cuts = False, [100_000]
        get(folder, "a.pt")
        assert (folder / "there" / "a.pt").read_bytes() == CONTENT

    @pytest.mark.parametrize("left, good", [(CONTENT, True), (CONTENT + b"x", False), (b"x" * 1000, False)])
    def test_what_an_earlier_call_left(self, offer, folder, left, good):
        """Complete, too long, or of another file: only the first one gets the name, the others are fetched again."""
        offer("a.pt")
        (folder / "there").mkdir(parents=True)
        (folder / "there" / "a.pt.part").write_bytes(left)
        if not good:
            assert "a.pt: the file does not have the checksum md5:" in fails(folder, "a.pt")
            assert list((folder / "there").iterdir()) == []
        get(folder, "a.pt")
        assert (folder / "there" / "a.pt").read_bytes() == CONTENT

    def test_wrong_content(self, offer, server, folder):
        offer("a.pt", check={"git_blob": git_blob(b"another")})
        assert f"{server.url}/a.pt: the file does not have the checksum git_blob:" in fails(folder, "a.pt")
        assert list((folder / "there").iterdir()) == []

    def test_another_file_of_that_name_is_not_replaced(self, offer, folder):
        offer("a.pt")
        (folder / "there").mkdir(parents=True)
        (folder / "there" / "a.pt").write_bytes(b"mine")
        assert "a.pt is not the file that" in fails(folder, "a.pt")
        assert (folder / "there" / "a.pt").read_bytes() == b"mine"

    def test_busy_server(self, server, offer, folder):
        offer("a.pt")
        server.troubles = [503, 429]
        get(folder, "a.pt")
        server.troubles = [500] * transfer.TRIES
        shutil.rmtree(folder)
        assert "a.pt: 500 Internal Server Error" in fails(folder, "a.pt")

    @pytest.mark.parametrize("code", [404, 403])
    def test_no_such_file(self, server, offer, folder, code):
        offer("a.pt")
        if code == 404:
            del server.files["/a.pt"]
        server.troubles = [403]
        assert f"{server.url}/a.pt: {code} " in fails(folder, "a.pt")
        assert len(ranges(server)) <= 1

    def test_no_server(self, offer, folder):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound but not listening: refused
            offer("a.pt", url=f"http://127.0.0.1:{unused.getsockname()[1]}/a.pt")
            assert fails(folder, "a.pt").endswith("/a.pt: [Errno 111] Connection refused")

    def test_no_answer(self, offer, folder, monkeypatch):
        monkeypatch.setattr(transfer, "TIMEOUT", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            offer("a.pt", url=f"http://127.0.0.1:{silent.getsockname()[1]}/a.pt")
            assert "a.pt: Read timed out." in fails(folder, "a.pt")

    def test_disk_too_small(self, offer, folder, monkeypatch):
        """300 kB, an archive of 20.5 kB, and its unpacked files: 341 kB."""
        offer("a.pt")
        offer("b.tar", content=archive({"b.root": bytes(10_000)}), unpack="*.root")
        usage = namedtuple("usage", "free")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(340_000))
        assert f"{folder} needs 341kB of free space and has 340kB" in fails(folder, "group")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(341_000))
        get(folder, "group")

    def test_unwritable_directory(self, offer, folder):
        offer("a.pt")
        folder.touch()
        assert f"cannot write to {folder}/below: " in fails(folder / "below", "a.pt")

    def test_disk_full_and_stopped(self, offer, folder, monkeypatch):
        offer("a.pt")
        write = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
        monkeypatch.setattr(transfer, "_write", write)
        assert f"cannot write to {folder}: [Errno 28] No space left on device" in fails(folder, "a.pt")
        write.side_effect = KeyboardInterrupt
        result = kd_trainer("download", "a.pt", "-d", folder, check=False)
        assert result.returncode == 130 and "goes on from here" in result.stdout


class TestArchives:
    FILES = {"JetClass_Pythia_val/sub/a.root": b"a", "JetClass_Pythia_val/b.root": b"bb", "README": b"no"}

    def test_files_are_moved_into_place(self, server, offer, folder):
        offer("val.tar", archive(self.FILES), unpack="*.root", to="JetClass/Pythia/val_5M")
        get(folder, "val.tar")
        there = folder / "JetClass" / "Pythia" / "val_5M"
        assert {path.name: path.read_bytes() for path in there.glob("[!.]*")} == {"a.root": b"a", "b.root": b"bb"}
        server.requests.clear()
        assert "1 of them already" in get(folder, "group") and server.requests == []
        (there / "a.root").unlink()
        get(folder, "group")
        assert (there / "a.root").read_bytes() == b"a"

    def test_interrupted_unpacking_is_done_again(self, server, offer, folder, monkeypatch):
        offer("val.tar", archive(self.FILES), unpack="*.root")
        with monkeypatch.context() as patch:
            patch.setattr(placing, "_extract", Mock(side_effect=KeyboardInterrupt))
            assert kd_trainer("download", "val.tar", "-d", folder, check=False).returncode == 130
        (folder / "there" / ".val.tar.unpacked").mkdir()  # as a killed process leaves it
        server.requests.clear()
        get(folder, "val.tar")
        assert server.requests == []
        assert sorted(path.name for path in (folder / "there").iterdir()) == [".val.tar.json", "a.root", "b.root"]

    @pytest.mark.parametrize(
        "members, message",
        [
            ({"../evil.root": b"x", "a.root": b"a"}, r"val.tar cannot be unpacked: \.\./evil.root would be"),
            ({"a.parquet": b"x"}, r"val.tar holds no files \*.root"),
            ({"x/a.root": b"1", "y/a.root": b"2"}, "val.tar holds two files of the same name"),
        ],
    )
    def test_bad_archive(self, offer, folder, members, message):
        offer("val.tar", archive(members), unpack="*.root")
        assert re.search(message, fails(folder, "val.tar"))
        assert [path.name for path in (folder / "there").iterdir()] == ["val.tar"]
        assert not list(folder.rglob("evil.root"))

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
    def test_links_and_devices(self, offer, folder, tmp_path, kind):
        """Members before them are not written either."""
        (tmp_path / "mine").write_text("mine")
        out = io.BytesIO(archive({"first.root": b"x"}))
        with tarfile.open(fileobj=out, mode="a") as file:
            member = tarfile.TarInfo("a.root")
            member.type, member.linkname = kind, str(tmp_path / "mine")
            file.addfile(member)
            member = tarfile.TarInfo("a.root")  # through the link
            member.size = 4
            file.addfile(member, io.BytesIO(b"evil"))
        offer("val.tar", out.getvalue(), unpack="*.root")
        assert "val.tar cannot be unpacked: a.root is neither a file nor a folder" in fails(folder, "val.tar")
        assert (tmp_path / "mine").read_text() == "mine"
        assert [path.name for path in (folder / "there").iterdir()] == ["val.tar"]

    def test_escape_of_the_filter_of_tarfile(self, offer, folder, tmp_path):
        """CVE-2025-4517: a chain of links too long to resolve, which the filter `data` took to be inside."""
        step, steps = "d" * 247, "abcdefghijklmnop"
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as file:

            def add(name, kind, target="", content=b""):
                member = tarfile.TarInfo(name)
                member.type, member.linkname, member.size = kind, target, len(content)
                file.addfile(member, io.BytesIO(content))

            path = ""
            for name in steps:
                add(f"{path}{step}", tarfile.DIRTYPE)
                add(f"{path}{name}", tarfile.SYMTYPE, step)
                path += f"{step}/"
            link = "/".join(steps) + "/" + "l" * 254
            add(link, tarfile.SYMTYPE, "../" * len(steps))
            add("escape", tarfile.SYMTYPE, f"{link}/../../..")
            add("escape/mine.root", tarfile.REGTYPE, content=b"evil")
        (tmp_path / "mine.root").write_text("mine")
        offer("val.tar", out.getvalue(), unpack="*.root")
        assert "val.tar cannot be unpacked: a is neither" in fails(folder, "val.tar")
        assert (tmp_path / "mine.root").read_text() == "mine" and len(list(folder.rglob("*"))) == 2

    def test_not_an_archive(self, offer, folder):
        offer("val.tar", unpack="*.root")
        assert "val.tar cannot be unpacked: " in fails(folder, "val.tar")


class TestRecords:
    @pytest.fixture(autouse=True)
    def record(self, server, offer, tmp_path, monkeypatch):
        """A record as the interface of Zenodo describes it."""
        import pooch.downloaders as pooch

        names = ["QG_jets.npz", "QG_jets_1.npz", "QG_jets_withbc_1.npz", "val.tar.gz"]
        server.files |= {f"/{name}": name.encode() * 100 for name in names}
        server.files["/val.tar.gz"] = gzip.compress(archive({"val/jetImage_0.h5": b"jets", "val/README": b"no"}))
        about = [
            {"key": name, "checksum": f"md5:{hashlib.md5(server.files[f'/{name}']).hexdigest()}",
             "links": {"self": f"{server.url}/{name}"}} for name in names
        ]  # fmt: skip
        server.files["/api/records/3164691"] = json.dumps({"id": 3164691, "files": about}).encode()
        monkeypatch.setattr(pooch, "doi_to_url", lambda doi, **kwargs: f"https://zenodo.org/records/{doi[-7:]}")
        monkeypatch.setattr(pooch.ZenodoRepository, "base_api_url", f"{server.url}/api/records")
        table = {name: download.yaml.safe_load(f"[{{doi: 10.5281/zenodo.{number}, to: qg, files: {files}}}]")
                 for name, number, files in [("qg", 3164691, '["QG_jets.npz", "QG_jets_[0-9]*.npz"]'),
                                             ("nothing", 3164691, '["*.h5"]'), ("gone", 1234567, '["*"]')]}  # fmt: skip
        table["packed"] = [{**table["qg"][0], "files": ["val.tar.gz"], "unpack": "*.h5"}]
        (tmp_path / "table.yaml").write_text(yaml.safe_dump(table))

    def test_archive_of_a_record(self, folder):
        get(folder, "packed")
        assert {path.name for path in (folder / "qg").iterdir()} == {".val.tar.gz.json", "jetImage_0.h5"}
        assert "1 items, 1 of them already" in get(folder, "packed")

    def test_files_of_a_record(self, folder):
        get(folder, "qg")
        assert sorted(path.name for path in (folder / "qg").iterdir()) == ["QG_jets.npz", "QG_jets_1.npz"]
        assert "2 items, 2 of them already" in get(folder, "qg")

    def test_checksum_of_the_record(self, server, folder):
        server.files["/QG_jets_1.npz"] += b"x"
        assert "QG_jets_1.npz: the file does not have the checksum md5:" in fails(folder, "qg")
        assert [path.name for path in (folder / "qg").iterdir()] == ["QG_jets.npz"]

    @pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", "..", ".qg.json", "", "a\\b"])
    def test_names_that_lead_elsewhere(self, folder, monkeypatch, name):
        monkeypatch.setattr("kd_trainer.datasets.fetching.record_files", lambda *_: {name: ("http://x", "md5:0")})
        assert f"{name!r} is not a plain file name" in fails(folder, "qg")
        with pytest.raises(InputError, match="is not a plain file name"):
            items_of({"url": "http://x/y", "to": "z", "md5": "0", "name": name}, folder)

    def test_no_such_record_or_file(self, folder):
        assert "the record 10.5281/zenodo.1234567 cannot be read: " in fails(folder, "gone")
        assert "the record 10.5281/zenodo.3164691 has no files *.h5" in fails(folder, "nothing")


class TestDatasets:
    SHA = "0123456789" * 4

    @pytest.fixture(autouse=True)
    def dataset(self, server, tmp_path, monkeypatch):
        """A dataset as the interface of the hub describes it."""
        self.contents = {"Pythia/Res2P_0000.parquet": b"2" * 100, "QCD_0000.parquet": b"q" * 50, "README.md": b"hi"}
        about = {"id": "jets/two", "sha": self.SHA, "siblings": [{"rfilename": name} for name in self.contents]}
        entries = [{"type": "file", "path": name, "size": len(content), "oid": git_blob(content)}
                   for name, content in self.contents.items()]  # fmt: skip
        for revision in ("", "/revision/main", f"/revision/{self.SHA}"):
            server.files[f"/api/datasets/jets/two{revision}"] = json.dumps(about).encode()
        for revision in ("main", self.SHA):
            server.files[f"/api/datasets/jets/two/tree/{revision}"] = json.dumps(entries).encode()
        for name, content in self.contents.items():
            path = f"/datasets/jets/two/resolve/{self.SHA}/{name}"
            server.files[path] = content
            server.headers[path] = {"X-Repo-Commit": self.SHA, "ETag": f'"{git_blob(content)}"'}
        parts = [{"hub": "jets/two", "endpoint": server.url, "to": "JetClassII/Pythia", "name": name, "files": [files]}
                 for name, files in [("Res2P", "*Res2P_*.parquet"), ("QCD", "*QCD_*.parquet")]]  # fmt: skip
        table = {"JetClassII": parts, "gone": [{**parts[0], "hub": "jets/three", "name": "gone"}]}
        (tmp_path / "table.yaml").write_text(yaml.safe_dump(table))
        monkeypatch.setattr(download, "TABLE", tmp_path / "table.yaml")

    def test_files_are_moved_into_place(self, server, folder):
        get(folder, "Res2P")
        there = folder / "JetClassII" / "Pythia"
        assert sorted(path.name for path in there.iterdir()) == [".Res2P.json", "Res2P_0000.parquet"]
        assert "2 items, 1 of them already" in get(folder, "JetClassII")
        assert (there / "QCD_0000.parquet").read_bytes() == b"q" * 50
        server.requests.clear()
        assert "2 items, 2 of them already" in get(folder, "JetClassII") and server.requests == []

    def test_disk_too_small(self, folder, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("usage", "free")(149))
        assert "needs 150B of free space" in fails(folder, "JetClassII")

    def test_path_that_leads_elsewhere(self, server, folder):
        entries = [{"type": "file", "path": "../../QCD_0.parquet", "size": 4, "oid": "0" * 40}]
        server.files["/api/datasets/jets/two/tree/main"] = json.dumps(entries).encode()
        assert "'..' is not a plain file name" in fails(folder, "QCD")
        assert not list(folder.rglob("*.parquet"))

    def test_no_such_dataset_or_file(self, server, folder):
        assert "the dataset jets/three cannot be read: " in fails(folder, "gone")
        del server.files[f"/datasets/jets/two/resolve/{self.SHA}/QCD_0000.parquet"]
        result = kd_trainer("download", "QCD", "-d", folder, check=False)
        assert result.returncode == 1  # after a progress bar of the library
        assert "the dataset jets/two cannot be fetched: " in result.stderr.splitlines()[-1]


class TestTable:
    def test_every_part_is_well_formed(self):
        names = []
        for parts in download.load_table(download.TABLE).values():
            for part in parts:
                names.append(part["name"])
                assert set(part) <= {"url", "doi", "hub", "name", "md5", "git_blob", "to", "unpack", "files"}
                assert not part["to"].startswith(("/", "."))
                assert len(part.keys() & {"url", "doi", "hub"}) == 1
                if "url" in part:
                    assert re.fullmatch(r"https://[\w.-]+(/[\w.-]+)+(\?download=1)?", part["url"])
                    check = {"md5": 32, "git_blob": 40}
                    (kind,) = part.keys() & check
                    assert re.fullmatch(f"[0-9a-f]{{{check[kind]}}}", part[kind])
                    assert part["name"].endswith(".tar") == ("unpack" in part)
                else:
                    assert part["files"] and all(isinstance(pattern, str) for pattern in part["files"])
                    assert re.fullmatch(r"10\.5281/zenodo\.\d+|[\w-]+/[\w-]+", part.get("doi") or part["hub"])
        assert len(set(names)) == len(names) == 42

    def test_the_facts_we_were_given(self, shared):
        """Address and checksum of every file of the list that came with the reference data."""
        facts = "".join((shared.parent / "docs" / f"{name}.md").read_text() for name in ("downloads", "trigger_inputs"))
        facts = re.sub(r"(?<=RunH_batch0)\n", "", facts)  # and its checksum
        for part in (part for parts in download.load_table(download.TABLE).values() for part in parts):
            check = part.get("md5") or part.get("git_blob")
            line, *_ = [line for line in facts.splitlines() if (check or part.get("hub") or part["doi"][-7:]) in line]
            assert check is None or urlsplit(part["url"]).path.rpartition("/")[2].removesuffix(".h5") in line

    def test_directories_of_the_scripts(self):
        table = download.load_table(download.TABLE)
        splits = [f"JetClass/Pythia/{split}" for split in ["train_100M"] * 10 + ["val_5M", "test_20M"]]
        assert [part["to"] for part in table["JetClass"]] == splits
        assert {part["to"] for part in table["JetClassII"]} == {"JetClassII/Pythia"}

    def test_list(self):
        lines = kd_trainer("download", "--list").stdout.splitlines()
        assert len(lines) == 2 + 42 and lines[2].startswith("JetClass ") and "10.5281/zenodo.2603256" in "".join(lines)

    def test_unknown_name(self, folder):
        assert "unknown name 'ParT'; valid are: JetClass, JetClassII, " in fails(folder, "JetClass", "ParT")
        assert "nothing to fetch; valid are: JetClass, " in fails(folder)
        assert not folder.exists()

    @pytest.mark.parametrize(
        "name, package", [("ParT_kin.pt", "requests"), ("qg", "pooch"), ("JetClassII", "huggingface_hub")]
    )
    def test_missing_package(self, folder, monkeypatch, name, package):
        found = download.importlib.util.find_spec
        monkeypatch.setattr(download.importlib.util, "find_spec", lambda name: None if name == package else found(name))
        assert f"{package} is not installed; pip install 'weaver-kd[download]'" in fails(folder, name)
        assert not folder.exists()
