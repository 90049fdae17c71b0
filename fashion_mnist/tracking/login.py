"""Who we are to a tracking server, and what is said where it does not let us in. No MLflow here.

The login is never ours to keep: MLflow's client takes it from the environment, or from a file in
the home folder, and what is asked without MLflow's client goes with the same.
"""

import base64
import configparser
import os
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from fashion_mnist.console import first_line_of
from fashion_mnist.tracking.address import without_password

NAME, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
TOKEN = "MLFLOW_TRACKING_TOKEN"
CREDENTIALS = ".mlflow/credentials"  # in the home folder, with the same two names in lower case
_OTHER_WAYS = (TOKEN, "MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4")
UNKNOWN, FORBIDDEN = 401, 403  # HTTP's words for it
_MLFLOWS_WORDS = {
    "UNAUTHENTICATED": UNKNOWN,
    "CUSTOMER_UNAUTHORIZED": UNKNOWN,
    "PERMISSION_DENIED": FORBIDDEN,
}


def login() -> tuple[str, str]:
    """The name and the password, each empty where none is set."""
    name, password = os.environ.get(NAME, ""), os.environ.get(PASSWORD, "")
    if not name or not password:
        file = configparser.ConfigParser(interpolation=None)
        try:
            file.read(Path.home() / CREDENTIALS)
            name = name or file.get("mlflow", NAME.lower(), fallback="")
            password = password or file.get("mlflow", PASSWORD.lower(), fallback="")
        except (configparser.Error, OSError, RuntimeError, UnicodeDecodeError):
            pass  # MLflow's client will say so
    return name, password


def login_headers() -> dict[str, str]:
    """What a request takes along to be let in; nothing where no login is set."""
    name, password = login()
    if name and password:
        words = base64.b64encode(f"{name}:{password}".encode()).decode()
        return {"Authorization": f"Basic {words}"}
    token = os.environ.get(TOKEN)
    return {"Authorization": f"Bearer {token}"} if token else {}


def refused_with(error: BaseException) -> int | None:
    """`UNKNOWN` or `FORBIDDEN` where a server refused who asked, in whatever library's words."""
    seen: BaseException | None = error
    while seen is not None:
        response = getattr(seen, "response", None)  # of requests, which carries the files
        status = getattr(response, "status_code", None) or getattr(seen, "code", None)
        status = _MLFLOWS_WORDS.get(str(getattr(seen, "error_code", "")), status)
        if status in (UNKNOWN, FORBIDDEN):
            return int(status)
        seen = seen.__cause__ or seen.__context__
    return None


def refusal(uri: str) -> str:
    """That a server does not know us, and what to do."""
    address, (name, password) = without_password(uri), login()
    if not name or not password:
        return f"{address} wants a login: set {NAME} and {PASSWORD}"
    return f"{address} refuses the user {name!r} with this password: see {NAME} and {PASSWORD}"


def check_login(uri: str, timeout_seconds: float = 10) -> str | None:
    """None if the server at this address lets us in, else the reason in one line.

    None also where this cannot be told without MLflow's client, or no server answers.
    """
    if not uri.startswith("http") or any(os.environ.get(way) for way in _OTHER_WAYS):
        return None
    page = f"{uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
    try:
        request = urllib.request.Request(page, headers=login_headers())
        urllib.request.urlopen(request, timeout=timeout_seconds).close()
    except urllib.error.HTTPError as error:
        return refusal(uri) if error.code == UNKNOWN else None
    except (OSError, HTTPException, ValueError) as error:
        return f"{without_password(uri)}: {first_line_of(error)}"
    return None
