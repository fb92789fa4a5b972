"""Two tenants of one server with a shared database: what is one's is nothing to the other."""

from pathlib import Path

from go_cache_safeguard.approval.voter import Role
from go_cache_safeguard.web.opening import open_office
from go_cache_safeguard.web.site import Scope
from postgres import Database
from webserver import PASSWORD, Served, free_port, log_in, serving

COOKIE = "safeguard-session"


def _let_in(served: Served, tenant: str, name: str) -> str:
    """Somebody with a password and a token; returns the token."""
    kept: list[str] = []
    with open_office(served.session(), tenant) as office:
        office.add(name, [Role.APPROVER, Role.AUDITOR])
        office.set_password(name, PASSWORD)
        office.mint(name, list(Scope), 3600, kept.append)
    return kept[0]


def test_a_session_or_a_token_of_one_tenant_is_nothing_to_another(tmp_path: Path, database: Database) -> None:
    port = free_port()
    ours, theirs = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    settings = {
        "serve.url": f"{ours}=ours {theirs}=theirs",
        "serve.database": database.url(),
        "serve.database_password_file": str(database.password_file()),
    }
    with serving(tmp_path, settings, port=port) as served:
        token = _let_in(served, "ours", "alice")
        other = _let_in(served, "theirs", "bob")
        with served.client() as client:
            assert log_in(client, "bob").status_code == 403, "nobody of this name is here"
            assert log_in(client, "alice").status_code == 303
            assert client.get(f"{ours}/").status_code == 200
            cookie = {"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
            assert client.get(f"{theirs}/", headers=cookie).status_code == 303
            for url, secret, status in (
                (ours, token, 200),
                (theirs, token, 401),
                (theirs, other, 200),
                (ours, other, 401),
            ):
                client.cookies.clear()
                bearer = {"Authorization": f"Bearer {secret}"}
                assert client.get(f"{url}/api/v1/operations", headers=bearer).status_code == status
                assert client.get(f"{url}/metrics", headers=bearer).status_code == status
            found = client.get(f"{theirs}/api/v1/journal", headers={"Authorization": f"Bearer {other}"}).text
            assert "bob" in found
            assert "alice" not in found
            assert client.get(f"{ours}/readyz").text == "ready\n"
    assert not (served.state / "people.sqlite").exists()
    assert not (served.state / "journal.sqlite").exists()
