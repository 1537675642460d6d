"""Precedence, places and errors of the settings; the manual's names; what this version refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from qzbrain.errors import SettingsInvalid
from qzbrain.settings import ROOT, Settings, config_path, environment_language, load_settings, origin_of, require_graph_secret

MANUAL = {
    "MYSQL_PORT": "23306", "MYSQL_USER": "qiyuan", "MYSQL_PASSWORD": "p@ss:/word", "MYSQL_DB": "chatglm", "REDIS_PORT": "16379",
    "REDIS_PASSWORD": "x", "REDIS_DB": "0", "CELERY_DB": "1", "QIZHIBRAIN_INDEX": "a", "KGINSERT_INDEX": "b", "QIZHIBRAIN_INDEX_TEST": "c",
    "KGINSERT_INDEX_TEST": "d", "QIZHIBRAIN_ES_SCORE": "1", "EMBEDDING_INDEX": "knowledge_pool/m3elarge-bookqas_tiaoling-250-50",
    "EMBEDDING_MODEL": "embedding_models", "MODEL_PATH": "pretrained_models/x", "CUDA_VISIBLE_DEVICES": "0,1,2,3",
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty config.toml in force."""
    path = tmp_path / "config.toml"
    path.touch()
    monkeypatch.setenv("QZBRAIN_CONFIG", str(path))
    return path


def test_environment_wins_over_file_and_file_over_default(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("qzbrain_port = 7001\nlog_level = 'debug'\n")
    monkeypatch.setenv("QZBRAIN_PORT", "7002")
    settings = load_settings()
    assert (settings.qzbrain_port, settings.log_level, settings.qzbrain_lang) == (7002, "debug", "zh")
    assert (origin_of("qzbrain_port"), origin_of("log_level"), origin_of("qzbrain_lang")) == ("environment", str(config), "default")


def test_an_empty_variable_counts_as_not_set(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("qzbrain_port = 7001\n")
    monkeypatch.setenv("QZBRAIN_PORT", "")
    assert load_settings().qzbrain_port == 7001
    assert origin_of("qzbrain_port") == str(config)


def test_the_manuals_names_work_in_the_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in MANUAL.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert {name: str(getattr(settings, name.lower())).removesuffix(".0") for name in MANUAL} == MANUAL


def test_the_manuals_names_work_in_the_file(config: Path) -> None:
    config.write_text("".join(f"{name.lower()} = {value if value.isdigit() else repr(value)}\n" for name, value in MANUAL.items()))
    assert load_settings().mysql_password == "p@ss:/word"


def test_several_web_workers_need_what_they_agree_on(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_WORKERS", "2")
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert refused.value.param == "web_workers"
    assert "REDIS_HOST" in refused.value.zh and "REDIS_HOST" in refused.value.en
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    assert load_settings().web_workers == 2


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "brain.example.org"])
def test_any_other_address_than_loopback_has_accounts(host: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QZBRAIN_HOST", host)
    assert load_settings().accounts is True


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_loopback_has_none_by_itself(host: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QZBRAIN_HOST", host)
    assert load_settings().accounts is False


def test_accounts_can_be_had_on_loopback(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().accounts is False
    monkeypatch.setenv("QZBRAIN_ACCOUNTS", "ON")
    assert load_settings().accounts is True


@pytest.mark.parametrize(
    ("name", "value"),
    [("QZBRAIN_PORT", "abc"), ("QZBRAIN_PORT", "70000"), ("WEB_WORKERS", "0"), ("WEB_WORKERS", "65"), ("QZBRAIN_LANG", "fr"), ("ANSWER_THRESHOLD", "2")],
)
def test_a_bad_value_is_named_with_its_setting(name: str, value: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert refused.value.param == name.lower()
    assert name.lower() in refused.value.zh
    assert value in refused.value.en


def test_a_bad_secret_is_not_shown(config: Path) -> None:
    config.write_text("mysql_password = ['hunter2']\n")
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert "hunter2" not in refused.value.zh + refused.value.en + str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("qzbrain_prot = 1", "qzbrain_prot"),
        ("= nonsense", "TOML"),
        ("[models.x]\nengine = 'external'", "base_url"),
        ("[models.auto]\nengine = 'extractive'", "auto"),
        ("[models.x]\nengine = 'external'\nbase_url = 'http://h/v1'\nslot = 3", "slot"),
        ("[models.x]\nengine = 'magic'", "engine"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(text: str, said: str, config: Path) -> None:
    config.write_text(text)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert said in refused.value.en
    assert said in refused.value.zh


def test_a_file_with_a_byte_order_mark_is_read(config: Path) -> None:
    config.write_bytes(b"\xef\xbb\xbfqzbrain_port = 7003\n")
    assert load_settings().qzbrain_port == 7003


def test_a_config_that_is_named_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QZBRAIN_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(SettingsInvalid, match="does not exist"):
        load_settings()


def test_config_is_looked_for_in_the_data_folder_then_in_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURRENT_DIR", str(tmp_path))
    monkeypatch.setenv("QZBRAIN_DATA", "here")
    assert config_path() is None
    (tmp_path / "config.toml").touch()
    assert config_path() == tmp_path / "config.toml"
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.toml").touch()
    assert config_path() == tmp_path / "here" / "config.toml"


def test_relative_places_do_not_depend_on_where_a_process_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QZBRAIN_DATA", "some/data")
    monkeypatch.chdir(tmp_path)
    assert load_settings().data == ROOT / "some" / "data"
    monkeypatch.setenv("CURRENT_DIR", str(tmp_path / "root"))
    assert load_settings().data == tmp_path / "root" / "some" / "data"


def test_the_test_environment_has_its_own_database_and_index(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    production = load_settings()
    monkeypatch.setenv("QZBRAIN_ENV", "TEST")
    test = load_settings()
    assert test.database_path != production.database_path
    assert "test_database" in test.database_path.name
    assert test.index_path != production.index_path


def test_models_come_from_the_file_only(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("[models.qwen]\nengine = 'external'\nbase_url = 'http://127.0.0.1:1/v1'\napi_key_env = 'QWEN_KEY'\n")
    monkeypatch.setenv("MODELS", "somebody else's")
    monkeypatch.setenv("QWEN_KEY", "k-123")
    settings = load_settings()
    assert list(settings.models) == ["qwen"]
    assert settings.models["qwen"].key() == "k-123"


def test_secrets_are_not_in_the_representation() -> None:
    settings = Settings(mysql_password="hunter2", models={"a": {"engine": "external", "base_url": "http://x/v1", "api_key": "hunter3"}})
    assert "hunter" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "zh"),
        ({"LANG": "C.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US", "LC_ALL": "zh_CN"}, "zh"),
        ({"LANG": "zh_CN", "QZBRAIN_LANG": "en"}, "en"),
    ],
)
def test_the_language_of_messages(environment: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANG", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert environment_language() == language


@pytest.mark.parametrize(
    ("given", "addresses"),
    [
        ("127.0.0.1:29200", ["http://127.0.0.1:29200"]),
        ("https://es.example/path", ["https://es.example/path"]),
        ("a:1, b:2 https://c:3", ["http://a:1", "http://b:2", "https://c:3"]),
        ("[::1]:9200", ["http://[::1]:9200"]),
        ("", []),
    ],
)
def test_search_addresses_are_hosts_or_urls_one_or_several(given: str, addresses: list[str], config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_URL_ADD", given)
    assert load_settings().es_addresses == addresses


@pytest.mark.parametrize("given", ["ftp://host", "host:port", "http://", "http://elastic:hunter2@host:9200", "host:9200?x=1"])
def test_a_search_address_that_cannot_be_is_refused_without_showing_a_secret(given: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_URL_ADD", given)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert refused.value.param == "es_url_add"
    assert "hunter2" not in refused.value.zh + refused.value.en


@pytest.mark.parametrize("name", ["Upper", "-x", "a b", "a*", "中文", ""])
def test_index_names_are_what_the_servers_take(name: str) -> None:
    with pytest.raises(ValueError, match="qizhibrain_index"):
        Settings(qizhibrain_index=name)


def test_tests_have_indexes_of_their_own() -> None:
    assert Settings().es_index == "qizhi_brain_es_retriever"
    assert Settings(qzbrain_env="test").es_index == "qizhi_brain_es_retriever_test"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8000/chat-process-txt", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("https://graph.internal/kg/chat-process-txt/", "https://graph.internal/kg"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("", ""),
    ],
)
def test_the_graph_service_is_named_with_or_without_its_route(url: str, address: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_URL", url)
    assert load_settings().graph_address == address


def test_a_graph_service_of_our_own_is_asked_unless_another_is_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QZBRAIN_GRAPH_SERVICE", "on")
    monkeypatch.setenv("QZBRAIN_GRAPH_PORT", "8123")
    assert load_settings().graph_address == "http://127.0.0.1:8123"
    monkeypatch.setenv("GRAPH_URL", "http://10.0.0.7:8000")
    assert load_settings().graph_address == "http://10.0.0.7:8000"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://:8000", "http://a:b@host:8000", "http://host:0", "http://host:8000/?a=b", "http://host:99999"])
def test_an_address_that_is_none_is_refused(url: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_URL", url)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert refused.value.param == "graph_url" and "a:b" not in refused.value.en


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.5"])
def test_web_is_not_its_own_graph_service(host: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_URL", f"http://{host}:9025/chat-process-txt")
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert "9025" in refused.value.zh and "9025" in refused.value.en


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "127.evil.example", "localhost.example"])
def test_a_graph_service_open_to_others_needs_a_secret(host: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QZBRAIN_GRAPH_HOST", host)
    with pytest.raises(SettingsInvalid) as refused:
        require_graph_secret(load_settings())
    assert "GRAPH_TOKEN" in refused.value.zh and "GRAPH_TOKEN" in refused.value.en
    monkeypatch.setenv("GRAPH_TOKEN", "0123456789abcdef")
    require_graph_secret(load_settings())


@pytest.mark.parametrize("token", ["short", "with a blank in it", "0123456789abcde\n", "0123456789abcdef\r\nx: y", "密" * 20])
def test_a_secret_that_is_none_is_refused_and_not_shown(token: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_TOKEN", token)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert refused.value.param == "graph_token" and token not in refused.value.en and token not in refused.value.zh


def test_a_secret_may_lie_in_a_file(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("p@ss 密码\n", encoding="utf-8")
    config.write_text("mysql_password = 'of the file'\n[models.a]\nengine = 'external'\nbase_url = 'http://h/v1'\napi_key_env = 'A_KEY'\n")
    monkeypatch.setenv("MYSQL_PASSWORD_FILE", str(file))
    monkeypatch.setenv("A_KEY_FILE", str(file))
    settings = load_settings()
    assert (settings.mysql_password, settings.models["a"].key()) == ("p@ss 密码", "p@ss 密码")
    assert origin_of("mysql_password") == str(file)
    monkeypatch.setenv("MYSQL_PASSWORD_FILE", "")
    assert load_settings().mysql_password == "of the file"


def test_files_are_for_secrets_only(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "port").write_text("7001")
    monkeypatch.setenv("QZBRAIN_PORT_FILE", str(tmp_path / "port"))
    assert load_settings().qzbrain_port == 9025


@pytest.mark.parametrize(("content", "also", "word"), [(None, "", "cannot be read"), ("", "", "empty"), ("\n", "", "empty"), ("right", "other", "both")])
def test_a_secrets_file_that_is_of_no_use_is_named(
    content: str | None, also: str, word: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(file))
    monkeypatch.setenv("REDIS_PASSWORD", also)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert word in refused.value.en and "REDIS_PASSWORD" in refused.value.zh and "right" not in refused.value.en
