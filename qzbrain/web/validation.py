"""Request bodies, queries and paths into pydantic models, and what is wrong with them into an error that names the field.

`validated` stands in for flask-openapi3's own validation: it parses JSON straight from the bytes (half the time), tells bad JSON
and bad UTF-8 from a bad field, and answers in the API's error shape.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import request
from flask_openapi3.utils import parse_parameters
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from qzbrain.errors import InvalidRequest, PayloadTooLarge, UnsupportedMedia

MAX_JSON_BYTES = 4 << 20
M = TypeVar("M", bound=BaseModel)

_ZH = {
    "missing": "缺少必填字段",
    "string_type": "应为字符串",
    "string_too_short": "不能为空或过短",
    "string_too_long": "过长",
    "string_pattern_mismatch": "含有不允许的字符",
    "int_type": "应为整数",
    "int_parsing": "应为整数",
    "float_type": "应为数字",
    "bool_type": "应为布尔值",
    "list_type": "应为数组",
    "dict_type": "应为对象",
    "model_type": "应为对象",
    "literal_error": "不在允许的取值之内",
    "greater_than_equal": "小于允许的最小值",
    "less_than_equal": "大于允许的最大值",
    "too_long": "元素过多",
    "too_short": "元素过少",
}


def validated(view: Callable[..., Any]) -> Callable[..., Any]:
    """Give `view` its `path`, `query` and `body` as the models of its annotations. Raises InvalidRequest, PayloadTooLarge, UnsupportedMedia."""
    _header, _cookie, path, query, _form, body, _raw = parse_parameters(view, doc_ui=False)

    @wraps(view)
    def wrapper(**path_values: Any) -> Any:
        values: dict[str, Any] = {}
        try:
            if path is not None:
                values["path"] = path.model_validate(path_values)
            if query is not None:
                values["query"] = query.model_validate(request.args.to_dict())
        except ValidationError as exc:
            raise invalid(exc) from exc
        if body is not None:
            values["body"] = read_json(body)
        return view(**values)

    wrapper.__delay_validate_request__ = True  # type: ignore[attr-defined]  # flask-openapi3: it validates for itself
    return wrapper


def read_json(model: type[M], *, limit_bytes: int = MAX_JSON_BYTES) -> M:
    """The request's JSON body as `model`; one that needs nothing may be left out. Raises InvalidRequest, PayloadTooLarge, UnsupportedMedia."""
    kind = request.mimetype
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMedia(
            zh=f"请求体的类型是 {kind[:60]}，此接口只接受 application/json。",
            en=f"The body's type is {kind[:60]}; this route takes application/json.",
        )
    if (request.content_length or 0) > limit_bytes:
        raise too_large(limit_bytes)
    data = request.stream.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise too_large(limit_bytes)
    try:
        nothing_needed = not any(field.is_required() for field in model.model_fields.values())
        return model.model_validate_json(b"{}" if not data and nothing_needed else data)
    except ValidationError as exc:
        raise invalid(exc) from exc


def too_large(limit_bytes: int) -> PayloadTooLarge:
    """The error for a JSON body over its limit."""
    return PayloadTooLarge(
        zh=f"请求体超过上限 {limit_bytes >> 20} MiB。请缩短内容；文件请用上传接口。",
        en=f"The body is over the limit of {limit_bytes >> 20} MiB. Shorten it; send files by the upload route.",
    )


def invalid(exc: ValidationError) -> InvalidRequest:
    """The first thing wrong, as an error that names its field."""
    first = exc.errors(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return InvalidRequest(
            "invalid_json",
            zh=f"请求体不是有效的 UTF-8 JSON：{first['msg']}。",
            en=f"The body is not valid JSON in UTF-8: {first['msg']}.",
        )
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return InvalidRequest(
            "unknown_field",
            zh=f"不认识的字段“{field[:80]}”。请对照 /docs 检查拼写。",
            en=f'Unknown field "{field[:80]}". Check its spelling against /docs.',
            param=field,
        )
    return InvalidRequest(
        "missing_field" if first["type"] == "missing" else "invalid_value",
        zh=f"字段“{field or '请求体'}”的值不可用：{_ZH.get(first['type'], first['msg'])}。",
        en=f'The value of "{field or "the body"}" cannot be used: {_reason(first)}.',
        param=field or None,
    )


def _reason(detail: ErrorDetails) -> str:
    message = detail["msg"]
    return (message[:1].lower() + message[1:]).removeprefix("value error, ")
