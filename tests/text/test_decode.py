"""Bytes to text, whatever the encoding; noise is refused."""

from __future__ import annotations

import random

import pytest

from qzbrain.errors import ParseFailed
from qzbrain.text.decode import decode

LAW = "国务院令第一号，自发布之日起施行。\n第二条　本法所称军事设施，是指下列建筑、场地和设备。"
TRADITIONAL = "國務院令第一號，自發佈之日起施行。這個規定適用於所有單位。"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", [LAW, "自发布之日起施行。", "Plain ASCII, nothing else.\n", LAW * 50])
def test_encodings(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)).text == text


@pytest.mark.parametrize("encoding", ["big5", "gbk", "utf-8", "utf-16"])
def test_traditional_script(encoding: str) -> None:
    text = TRADITIONAL.replace("佈", "布")
    assert decode(text.encode(encoding)).text == text


@pytest.mark.parametrize(("text", "encoding"), [
    ("张三", "gbk"), ("abc 你好", "gbk"), ("Müller à la carte – naïve café", "cp1252"), ("Привет, как дела? Это русский текст для проверки.", "cp1251"),
])
def test_short_and_western(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)).text == text


def test_newlines_become_one_kind_and_stray_controls_go() -> None:
    assert decode("甲\r\n乙\r丙\n".encode() + "\x00丁\x07".encode() + "很长的正文" .encode() * 20).text == "甲\n乙\n丙\n丁" + "很长的正文" * 20


@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
def test_cut_off_or_slightly_damaged_text_is_still_read(encoding: str) -> None:
    data = (LAW * 40).encode(encoding)
    assert decode(data[:-1]).text == (LAW * 40)[:-1]
    damaged = bytearray(data)
    damaged[1000] = 0xFF
    assert "自发布之日起施行" in decode(bytes(damaged)).text


@pytest.mark.parametrize("size", [200, 5_000, 50_000])
def test_noise_is_refused(size: int) -> None:
    for seed in range(5):
        with pytest.raises(ParseFailed) as caught:
            decode(random.Random(seed).randbytes(size))
        assert caught.value.code == "garbled"


def test_nothing_gives_nothing() -> None:
    assert decode(b"").text == ""
