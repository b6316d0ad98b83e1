"""Secrets are taken out of what is written down or shown: manifests, reports, logs, messages.

A secret is known by the name it is given under (``--password=...``, ``api_key: ...``, ``&sig=...``), by its place (the
user and password of a URL) or by its form (keys of well known services). What stands in its place is `HIDDEN`. Names
of projects, regions, accounts, buckets and files stay: a reader needs them, and they open nothing.

What a step works with is never changed, only what is written of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HIDDEN = "..."
"""What stands in the place of a secret."""

# In a name without its separators, wherever they stand: nothing else is called so.
_STEMS = (
    "password", "passwd", "passphrase", "passcode", "secret", "credential", "apikey", "apitoken", "accesskey",
    "privatekey", "accountkey", "accesstoken", "authtoken", "bearertoken", "sessiontoken", "refreshtoken", "idtoken",
    "sastoken", "securitytoken", "connectionstring", "encryptionkey", "signingkey", "sharedkey", "storagekey",
    "subscriptionkey", "masterkey", "sshkey", "authkey",
)  # fmt: skip
# As a whole word of a name; the last one, but for what names the value itself.
_WORDS = {
    "pwd",
    "pass",
    "token",
    "authorization",
    "auth",
    "bearer",
    "creds",
    "cookie",
    "jwt",
    "sas",
    "pat",
    "otp",
    "pin",
}
_OF_THE_VALUE = {"value", "text", "string", "base64", "b64", "id", "1", "2"}
# A name that ends so tells where a secret is, or how large; not the secret.
_ABOUT = {
    "path", "file", "filename", "location", "size", "count", "length", "len", "dim", "dims", "grid", "type", "mode",
    "layer", "index", "position", "number", "ttl", "timeout", "s", "seconds", "expiry", "method", "scheme", "provider",
}  # fmt: skip
_IN_A_URL = {"sig", "signature", "key", "code", "password", "hmac"}

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_QUERY = re.compile(r"([?&#;])([\w.\-\[\]%]+)=([^\s&#;\"'<>]+)")
# A name and its value in running text: an option, a variable, a field of JSON or YAML, a header.
_NAME = r"[A-Za-z_][\w\-.]*"
_IS_NAME = re.compile(_NAME)
_PAIR = re.compile(
    rf"(?<![\w&?#;])((?:--?)?[\"']?{_NAME}[\"']?)(\s*=\s*|\s*:\s*)"
    r"(\"[^\"]*\"|'[^']*'|(?:Bearer |Basic )?[^\s,;&\"'}\])]+)"
)
_IS_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_OPTION = re.compile(rf"(?<![\w-])(--?)({_NAME})(\s+)(\"[^\"]*\"|'[^']*'|[^\s,;\"'\-][^\s,;\"']*)")
_USER_INFO = re.compile(
    r"([A-Za-z][\w+.\-]*://)([^\s/?#@]*:(?!\d+(?:[/?#]|$))[^\s\"'<>]*|[^\s/?#\"'<>]*)@(?=[^\s/?#@\"'<>]+)"
)
_CONTAINERS = ("abfs://", "abfss://", "wasb://", "wasbs://")  # what stands before their @ is a container, no user
_FORMS = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bAIza[\w-]{30,}"
    r"|\bya29\.[\w-]{10,}"
    r"|\b(?:gh[pousr]|github_pat|glpat|hf|xox[abprs]|sk|pypi)[_-][\w-]{16,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
)
_SCHEME = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/\-]{8,}=*")


def is_secret(name: str) -> bool:
    """Whether what is given under a name is a secret; the name as an option, variable, key or parameter."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or (len(words) > 1 and words[-1] in _ABOUT):
        return False
    if _has_stem(name):
        return True
    while len(words) > 1 and words[-1] in _OF_THE_VALUE:
        words.pop()
    return words[-1] in _WORDS


def _has_stem(name: str) -> bool:
    joined = "".join(_WORD.findall(name)).lower()
    return any(stem in joined for stem in _STEMS)


def text(shown: str) -> str:
    """A message, a path or any other text without the secrets in it."""
    shown = _FORMS.sub(HIDDEN, shown)
    if "://" in shown:  # without one the pattern fits nothing, and looks from every letter on
        shown = _USER_INFO.sub(_without_user, shown)
    shown = _QUERY.sub(_without_parameter, shown)
    shown = _SCHEME.sub(rf"\1 {HIDDEN}", shown)
    shown = _OPTION.sub(_without_value, shown)
    return _PAIR.sub(_without_pair, shown)


def _without_user(match: re.Match[str]) -> str:
    scheme, user = match[1], match[2]
    if scheme.lower() in _CONTAINERS and ":" not in user:
        return match[0]
    named = ":" not in user and not scheme.lower().startswith("http")  # as in ssh://git@host: a user alone
    return match[0] if named else f"{scheme}{HIDDEN}@"


def _without_parameter(match: re.Match[str]) -> str:
    words = _WORD.findall(match[2].lower())
    hide = is_secret(match[2]) or (bool(words) and words[-1] in _IN_A_URL)
    return f"{match[1]}{match[2]}={HIDDEN}" if hide else match[0]


def _without_value(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}{match[3]}{HIDDEN}" if is_secret(match[2]) else match[0]


def _without_pair(match: re.Match[str]) -> str:
    name, between, value = match.groups()
    bare = name.strip("-\"'")
    if not is_secret(bare) or (name[-1] == '"' and _IS_NUMBER.fullmatch(value) and not _has_stem(bare)):
        return name + between + _PAIR.sub(_without_pair, value)  # a value may be a list of names and values
    in_prose = name[-1] not in "\"'" and between.rstrip() == ":" and between != ":"  # "token: expected one of ..."
    if in_prose and len(_WORD.findall(bare)) == 1 and not _has_stem(bare) and bare.lower() != "authorization":
        return match[0]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{name}{between}{quote}{HIDDEN}{quote}"


def options(arguments: Sequence[str]) -> list[str]:
    """Command line options, ``--name=value`` or ``--name`` and its value behind it, without the secrets in them."""
    return list(_options(arguments))


def _options(arguments: Sequence[str]) -> Iterator[str]:
    hide = False
    for argument in arguments:
        if hide and not argument.startswith("--"):
            yield HIDDEN
            hide = False
            continue
        name, equals, _ = argument.partition("=")
        hide = False
        if argument.startswith("-") and is_secret(name):
            yield f"{name}={HIDDEN}" if equals else argument
            hide = not equals
        else:
            yield text(argument)


def document(value: Any) -> Any:
    """Settings or another tree of JSON values without the secrets in it; numbers, truth values and nulls stay.

    A number under the name of a password is one, though, while a number of tokens is not.
    """
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return {key: _under(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        if len(value) == 2 and isinstance(value[0], str) and _IS_NAME.fullmatch(value[0]) and is_secret(value[0]):
            return [value[0], _under(*value)]  # a mapping's item
        if all(isinstance(one, str) for one in value):
            return options(value)
        return [document(one) for one in value]
    return value


def _under(name: str, value: Any) -> Any:
    """The value that stands under a name."""
    if not is_secret(name) or value is None or isinstance(value, bool):
        return document(value)
    if isinstance(value, Mapping):
        return dict.fromkeys(value, HIDDEN)
    if isinstance(value, (list, tuple)):
        return [HIDDEN for _ in value]
    return value if isinstance(value, (int, float)) and not _has_stem(name) else HIDDEN
