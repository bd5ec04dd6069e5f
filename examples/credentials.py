"""Where a key comes from: a function, a profile, a token server, the keyring of the system."""

import asyncio
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import keyring
from keyring.backend import KeyringBackend

from openwop import AsyncOpenwopClient
from openwop.credentials import OAuth2ClientCredentials, delete_profile, profile_names, save_profile
from openwop.integrations.keyring import KeyringToken

HOST, KEY = os.environ.pop("OPENWOP_BASE_URL"), os.environ.pop("OPENWOP_API_KEY")


class TokenServer(BaseHTTPRequestHandler):
    """What your organisation runs: here it gives everybody the key of the development host."""

    def do_POST(self) -> None:
        body = json.dumps({"access_token": KEY, "token_type": "Bearer", "expires_in": 3600}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def token_server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), TokenServer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()
        thread.join()


class Memory(KeyringBackend):
    """A keyring for this example; on your machine there is a real one."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password


# --8<-- [start:function]
async def current_key() -> str:
    """Asked before each attempt, so that a new key is used without a restart."""
    return KEY  # from wherever your secrets are


# --8<-- [end:function]


async def status(client: AsyncOpenwopClient) -> str:
    return (await client.execute("conformance-noop")).status


async def main(token_url: str) -> None:
    # --8<-- [start:use-function]
    async with AsyncOpenwopClient(HOST, api_key=current_key) as client:
        print("a function:", await status(client))
    # --8<-- [end:use-function]

    # --8<-- [start:profile]
    save_profile("work", base_url=HOST, api_key=KEY)
    print(profile_names())
    async with AsyncOpenwopClient(profile="work") as client:  # or OPENWOP_PROFILE=work
        print("a profile:", await status(client))
    delete_profile("work")
    # --8<-- [end:profile]

    # --8<-- [start:oauth]
    tokens = OAuth2ClientCredentials(
        token_url, "my-service", os.environ.get("CLIENT_SECRET", "s3cret"), scope="runs:create runs:read"
    )
    async with AsyncOpenwopClient(HOST, api_key=tokens) as client:
        print("a token server:", await status(client))
    # --8<-- [end:oauth]

    # --8<-- [start:keyring]
    key = KeyringToken(username="work")
    key.save(KEY)  # once
    async with AsyncOpenwopClient(HOST, api_key=key) as client:
        print("a keyring:", await status(client))
    # --8<-- [end:keyring]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, token_server() as url:
        os.environ["XDG_CONFIG_HOME"] = os.environ["APPDATA"] = folder  # leave your own profiles alone
        keyring.set_keyring(Memory())
        asyncio.run(main(url))
