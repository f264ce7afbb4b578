"""A folder that replaces the Hugging Face Hub: a local server serves it, and patched functions upload to it.

``python -m tests.zoo.hub FOLDER ...`` runs ``python -m sb3_a2c_td.zoo ...`` with uploads to the folder.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from huggingface_hub import HfApi


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve files with the Hub's headers, and with its error for missing files.

    :param folder: holds repositories, ``organization/name``
    :return: the server's address
    """

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            organization, name, _, _, *path = self.path.strip("/").split("/")
            file = folder.joinpath(organization, name, *path)
            content = file.read_bytes() if file.is_file() else b""
            self.send_response(200 if file.is_file() else 404)
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("ETag", f'"{hash(content):x}"')
            self.send_header("Content-Length", str(len(content)))
            if not file.is_file():
                self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_GET = do_HEAD

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def upload_to(folder: Path) -> None:
    """Let the three functions of the Hub's client that ``push_to_hub`` calls work on a folder."""

    def create_repo(self: HfApi, repo_id: str, **kwargs: Any) -> str:
        (folder / repo_id).mkdir(parents=True)
        return f"{folder / repo_id}"

    def snapshot_download(self: HfApi, repo_id: str, local_dir: Path) -> None:
        shutil.copytree(folder / repo_id, local_dir)

    def upload_folder(self: HfApi, repo_id: str, folder_path: Path, commit_message: str) -> None:
        shutil.copytree(folder_path, folder / repo_id, dirs_exist_ok=True)

    for function in (create_repo, snapshot_download, upload_folder):
        setattr(HfApi, function.__name__, function)


if __name__ == "__main__":
    from sb3_a2c_td.zoo import launcher

    upload_to(Path(sys.argv[1]))
    launcher.main(sys.argv[2:])
