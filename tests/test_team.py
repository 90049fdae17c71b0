"""What a tracking server for many machines is started with; nothing is started here.

`tests/faults/test_team_server.py` starts one.
"""

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.cli import server as mlflow_server

from fashion_mnist.config.store_uri import demand_no_password, has_password, without_password
from fashion_mnist.tracking.checks import complaint
from fashion_mnist.tracking.reader import Reader

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "scripts" / "tracking-server.compose.yaml"


def options_of(words: list[str]) -> dict[str, Any]:
    """What `mlflow server` makes of its options; an error where it knows one of them not."""
    return dict(mlflow_server.make_context("server", list(words)).params)


def test_reading_takes_no_password_of_a_server() -> None:
    """It would be in the links that commands print."""
    with pytest.raises(ValueError, match="the store must have no password in it") as error:
        Reader("http://me:secret@127.0.0.1:9")
    assert "secret" not in str(error.value)


def compose() -> dict[str, Any]:
    """The compose file."""
    return dict(yaml.safe_load(COMPOSE.read_text()))


def test_compose_file_is_whole() -> None:
    """Services, volumes and configs that are named are there; MLflow knows the options."""
    content = compose()
    services = content["services"]
    assert set(services) == {"database", "server"}
    for service in services.values():
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in content["volumes"]
    assert {each["source"] for each in services["server"]["configs"]} == set(content["configs"])
    words = [word.replace("${WORKERS:-4}", "4") for word in services["server"]["command"]]
    assert words[:2] == ["mlflow", "server"]
    assert options_of(words[2:])["app_name"] == "basic-auth"
    logins = configparser.ConfigParser()
    logins.read_string(content["configs"]["logins"]["content"])
    assert logins["mlflow"]["default_permission"] == "EDIT"
    lock = (ROOT / "requirements.txt").read_text()
    [mlflow] = re.findall(r"^mlflow==\S+", lock, re.MULTILINE)
    assert f"'{mlflow}'" in services["server"]["build"]["dockerfile_inline"]


def test_compose_file_has_no_secret_and_explains_its_variables() -> None:
    """Passwords come from outside; each variable is named at the file's top."""
    text = COMPOSE.read_text()
    head = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    names = set(re.findall(r"\$\{(\w+)", text))
    assert {"DATABASE_PASSWORD", "ADMIN_PASSWORD", "SECRET_KEY", "ARTIFACTS"} <= names
    assert not {name for name in names if f"{name}=" not in head}
    environments = [service["environment"] for service in compose()["services"].values()]
    for key, value in [pair for each in environments for pair in each.items()]:
        if re.search("PASSWORD|SECRET", key):
            assert value.startswith("${"), key


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:se/cr@et@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("http://me:1234@host:5000", "http://me:***@host:5000"),
        ("mysql://h/db?user=me&password=secret&x=1", "mysql://h/db?user=me&password=***&x=1"),
        ("http://me:secret@[bad", "http://me:***@[bad"),
        ("postgresql://u:12/secret@h/db", "postgresql://u:***@h/db"),
        ("http://secret@host/", "http://***@host/"),
        ("https://:secret@host", "https://***@host"),
        ("http://me:se/secret@host/", "http://me:***@host/"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////home/a:b@c/x.db", "sqlite:////home/a:b@c/x.db"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    """And `tracking.uri`, which is kept and shown, must have none."""
    assert without_password(address) == shown
    assert without_password(shown) == shown
    assert has_password(address) == (address != shown)
    if has_password(address):
        with pytest.raises(ValueError, match="must have no password in it") as error:
            demand_no_password(address)
        assert "secret" not in str(error.value)
        said = complaint(address, OSError(f"cannot reach {address}/api"))
        assert shown in said
        assert "secret" not in said
