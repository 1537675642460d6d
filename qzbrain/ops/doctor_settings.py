"""The doctor's look at the settings: the file in force, names that nobody knows, and settings that contradict each other or have no effect."""

from __future__ import annotations

import os
import re
import shlex
import stat
import tomllib
from pathlib import Path

from qzbrain.errors import SettingsInvalid
from qzbrain.models.catalog import LOCAL_ENGINES
from qzbrain.ops.finding import Finding, Text
from qzbrain.ops.minding import by_compose
from qzbrain.ops.serving import serving
from qzbrain.ops.start import running_brain
from qzbrain.settings import Settings, config_path, load_settings, nearest_setting, origin_of

_STEP = 4
_TITLE: Text = ("配置", "configuration")
_OTHERS_OWN = ("QZBRAIN_ENGINE", "QZBRAIN_TEST_", "QZBRAIN_UV", "QZBRAIN_PYTHON")
"""Variables of that beginning that are not settings: of engines, of the tests, of the set-up."""
_OWN = ("QZBRAIN_", "QIZHIBRAIN_", "KGINSERT_")
_ALIKE = 0.88
"""`MYSQL_HOTS` is meant for a setting; `MYSQL_ROOT_PASSWORD` is another program's."""
_PARTS = {
    "mysql_host": ("mysql_port", "mysql_user", "mysql_password", "mysql_db", "mysql_ssl_ca"),
    "redis_host": ("redis_port", "redis_password", "redis_db", "celery_db"),
    "es_url_add": ("es_user", "es_password", "es_api_key", "es_ca_file", "es_timeout_s", "qizhibrain_index", "kginsert_index", "qizhibrain_es_score"),
    "neo4j_url": ("neo4j_user", "neo4j_password", "neo4j_database"),
    "ldap_url": ("ldap_bind_dn", "ldap_bind_password", "ldap_user_base", "ldap_ca"),
    "oidc_issuer": ("oidc_client_id", "oidc_client_secret", "oidc_ca"),
}
"""Settings that have no effect without the one that is named first."""


def unusable(error: SettingsInvalid) -> Finding:
    """The finding in place of all others that need settings: what is wrong with them. A misspelt name comes with the command that corrects it."""
    advice = ("改正后运行 qzbrain config show 核对", "correct it, then look at it with: qzbrain config show")
    path = _file()
    if path is not None and error.param and "." not in error.param and (meant := nearest_setting(error.param)) and error.param != meant:
        command = f"sed -i 's/^\\s*{re.escape(error.param)}\\b/{meant}/' {shlex.quote(str(path))}"
        advice = (command, command)
    return Finding.fail("configuration", _STEP, _TITLE, (error.zh, error.en), advice)


def _file() -> Path | None:
    try:
        return config_path()
    except SettingsInvalid:
        return None


def configuration(settings: Settings) -> list[Finding]:
    """Which file is in force, whether the next start can use it, and whether others may read the secrets in it."""
    try:
        path, now = config_path(), load_settings()
    except SettingsInvalid as error:
        return [unusable(error)]
    if path is None:
        none = ("没有 config.toml，使用默认值和环境变量；qzbrain config show 显示来源", "no config.toml; defaults and environment (qzbrain config show tells)")
        return [Finding.ok("configuration", _STEP, _TITLE, none)]
    if holds_secret(path) and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        seen = (f"{path} 含有机密，但其他用户可读", f"{path} holds secrets, and other users may read it")
        return [Finding.warn("configuration", _STEP, _TITLE, seen, (f"chmod 600 {shlex.quote(str(path))}",) * 2)]
    changed = [name for name in Settings.model_fields if getattr(now, name) != getattr(settings, name)]
    if changed and (running_brain(settings) or serving(settings)):  # only where it is the running brain that asks
        listed = ", ".join(changed)
        seen = (f"{path} 在启动之后改过，尚未生效：{listed}", f"{path} was changed after the start and is not in force yet: {listed}")
        again = ("重启 qzbrain（Ctrl-C，然后 ./run.sh）", "start it again (Ctrl-C, then ./run.sh)")
        return [Finding.warn("configuration", _STEP, _TITLE, seen, ("sh deploy.sh --restart",) * 2 if by_compose(settings) else again)]
    return [Finding.ok("configuration", _STEP, _TITLE, (f"{path}；qzbrain config show 显示全部", f"{path}; qzbrain config show prints all"))]


def holds_secret(path: Path) -> bool:
    """Whether a configuration file that can be read holds a password, a key or a token."""
    values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    own = any(values.get(name) for name, field in Settings.model_fields.items() if not field.repr and name != "models")
    return own or any(table.get("api_key") for table in values.get("models", {}).values())


def names(settings: Settings) -> list[Finding]:
    """Variables of the environment that look like settings and are none: misspelt ones have no effect and are not refused."""
    title: Text = ("环境变量名", "names of variables")
    unknown: list[tuple[str, str]] = []
    for name in sorted(os.environ):
        if name.lower() in Settings.model_fields or name.startswith(_OTHERS_OWN) or name in _key_variables(settings):
            continue
        own = name.startswith(_OWN)
        meant = nearest_setting(name, least=_ALIKE if not own else 0.6)
        if own or (meant and "_" in name):
            unknown.append((name, (meant or "").upper()))
    if not unknown:
        return [Finding.ok("setting_names", _STEP, title, ("没有不认识的变量", "none is unknown"))]
    seen = ", ".join(f"{name}（应为 {meant}？）" if meant else name for name, meant in unknown[:5])
    seen_en = ", ".join(f"{name} ({meant}?)" if meant else name for name, meant in unknown[:5])
    name, meant = unknown[0]
    command = f'export {meant}="${name}"; unset {name}' if meant else f"unset {name}"
    return [Finding.warn("setting_names", _STEP, title, (f"不认识，不起作用：{seen}", f"unknown, without effect: {seen_en}"), (command, command))]


def _key_variables(settings: Settings) -> set[str]:
    return {model.api_key_env for model in settings.models.values() if model.api_key_env}


def agreement(settings: Settings) -> list[Finding]:
    """Settings that have no effect, or contradict each other. The worst first; all are named."""
    title: Text = ("设置之间", "settings together")
    wrong = [*_contradictions(settings)]
    vain = [*_without_effect(settings)]
    if not wrong and not vain:
        return [Finding.ok("settings_agree", _STEP, title, ("没有互相矛盾或不起作用的设置", "none contradicts another, none is without effect"))]
    told = [*wrong, *vain]
    seen = ("；".join(one[0] for one in told), "; ".join(one[1] for one in told))
    make = Finding.fail if wrong else Finding.warn
    return [make("settings_agree", _STEP, title, seen, told[0][2])]


def _contradictions(settings: Settings) -> list[tuple[str, str, Text]]:
    found: list[tuple[str, str, Text]] = []
    if settings.es_addresses and settings.es_index == settings.es_facts_index:
        name = "KGINSERT_INDEX"
        found.append((f"QIZHIBRAIN_INDEX 与 {name} 相同：{settings.es_index}", f"QIZHIBRAIN_INDEX and {name} are both {settings.es_index}",
                      (f"为 {name} 另取一个名字", f"give {name} a name of its own")))  # fmt: skip
    if settings.es_addresses and settings.qizhibrain_index == settings.qizhibrain_index_test:
        found.append(("测试索引与正式索引同名（QIZHIBRAIN_INDEX_TEST）", "the test index has the name of the real one (QIZHIBRAIN_INDEX_TEST)",
                      ("改正 QIZHIBRAIN_INDEX_TEST", "correct QIZHIBRAIN_INDEX_TEST")))  # fmt: skip
    if settings.mysql_host and settings.qzbrain_env == "production" and settings.mysql_db == "test_database":
        found.append(("MYSQL_DB=test_database 是测试数据库，而 QZBRAIN_ENV=production", "MYSQL_DB=test_database is for QZBRAIN_ENV=test, not for production",
                      ("把 MYSQL_DB 改为正式数据库，或设 QZBRAIN_ENV=test", "name the real database in MYSQL_DB, or set QZBRAIN_ENV=test")))  # fmt: skip
    if settings.qzbrain_graph_service == "on" and settings.qzbrain_graph_port == settings.qzbrain_port:
        found.append((f"图谱服务与网页使用同一端口 {settings.qzbrain_port}", f"the graph service and web are both to have port {settings.qzbrain_port}",
                      ("设置 QZBRAIN_GRAPH_PORT=8000", "set QZBRAIN_GRAPH_PORT=8000")))  # fmt: skip
    return found


def _without_effect(settings: Settings) -> list[tuple[str, str, Text]]:
    found: list[tuple[str, str, Text]] = []
    for switch, parts in _PARTS.items():
        given = [name.upper() for name in parts if not getattr(settings, switch) and origin_of(name) != "default"]
        if given:
            listed, wanted = ", ".join(given), switch.upper()
            found.append((f"{listed} 不起作用：没有设置 {wanted}", f"{listed} without effect: {wanted} is not set",
                          (f"设置 {wanted}，或删除 {listed}", f"set {wanted}, or remove {listed}")))  # fmt: skip
    if settings.es_api_key and (settings.es_user or settings.es_password):
        found.append(("ES_USER 与 ES_PASSWORD 不起作用：使用的是 ES_API_KEY", "ES_USER and ES_PASSWORD without effect: ES_API_KEY is used",
                      ("只保留其中一种", "keep one of the two")))  # fmt: skip
    if settings.qzbrain_graph_service == "on" and settings.graph_url and settings.graph_address != settings.graph_service_url:
        found.append((f"自己的图谱服务没有人使用：GRAPH_URL={settings.graph_address}", f"nobody asks our graph service: GRAPH_URL={settings.graph_address}",
                      ("取消 GRAPH_URL，或设 QZBRAIN_GRAPH_SERVICE=off", "unset GRAPH_URL, or set QZBRAIN_GRAPH_SERVICE=off")))  # fmt: skip
    if settings.model_path and not any(one.engine in LOCAL_ENGINES and one.kind == "chat" and one.alive for one in settings.models.values()):
        found.append(("MODEL_PATH 不起作用：没有启用的本机语言模型", "MODEL_PATH without effect: no local language model is alive",
                      ("添加 [models.名称]，或取消 MODEL_PATH", "add [models.NAME], or unset MODEL_PATH")))  # fmt: skip
    if (settings.ldap_url or settings.oidc_issuer) and not settings.accounts:
        found.append(("单点登录不起作用：没有启用账号", "single sign-on without effect: there are no accounts",
                      ("设置 QZBRAIN_ACCOUNTS=on", "set QZBRAIN_ACCOUNTS=on")))  # fmt: skip
    if settings.session_idle_minutes > settings.session_hours * 60:
        found.append(("SESSION_IDLE_MINUTES 比 SESSION_HOURS 长，不起作用", "SESSION_IDLE_MINUTES is longer than SESSION_HOURS and without effect",
                      ("减小 SESSION_IDLE_MINUTES", "lower SESSION_IDLE_MINUTES")))  # fmt: skip
    return found
