"""Why a document cannot be read, one function a reason: each makes a ParseFailed that says what to do next."""

from __future__ import annotations

from qzbrain.errors import ParseFailed

_GET_OCR_ZH = "请在服务器上运行 ./run.sh --setup-only --with-ocr 安装（设置 OCR 不能为 off），然后重试。"
_GET_OCR_EN = "Run ./run.sh --setup-only --with-ocr on the server to install it (the setting OCR must not be off), then try again."


def empty() -> ParseFailed:
    """No text at all in the file."""
    return ParseFailed(
        "empty",
        zh="文件是空的，没有任何文字。请确认上传的是完整的文件。",
        en="The file is empty: there is no text in it. Check that the complete file was uploaded.",
    )


def broken(kind: str) -> ParseFailed:
    """The bytes say they are a `kind` and cannot be read as one."""
    return ParseFailed(
        "broken",
        zh=f"这个 {kind} 文件已损坏或不完整，无法读取。请用原程序打开并重新保存后再上传。",
        en=f"This {kind} file is damaged or incomplete and cannot be read. Open it in the program it came from, save it again and upload that.",
    )


def encrypted(kind: str) -> ParseFailed:
    """The file is protected by a password."""
    return ParseFailed(
        "encrypted",
        zh=f"这个 {kind} 文件有密码保护。请去除密码后重新上传。",
        en=f"This {kind} file is protected by a password. Remove the password and upload it again.",
    )


def locked_book() -> ParseFailed:
    """A book under copy protection (DRM)."""
    return ParseFailed(
        "encrypted",
        zh="这本电子书有版权保护（DRM），内容已加密，无法读取。请换用没有加密的版本。",
        en="This book is under copy protection (DRM): its content is encrypted and cannot be read. Use a version without it.",
    )


def too_large(limit_chars: int) -> ParseFailed:
    """More text than one document may have."""
    return ParseFailed(
        "too_large",
        zh=f"文档文字超过 {limit_chars:,} 个字符的上限。请拆分成几个文件，或调高设置 MAX_TEXT_CHARS。",
        en=f"The document has more than {limit_chars:,} characters, the limit. Split it into several files, or raise the setting MAX_TEXT_CHARS.",
    )


def too_many_pages(pages: int, limit: int) -> ParseFailed:
    """More pages than one document may have."""
    return ParseFailed(
        "too_large",
        zh=f"文档有 {pages:,} 页，超过 {limit:,} 页的上限。请拆分成几个文件后上传。",
        en=f"The document has {pages:,} pages, more than the limit of {limit:,}. Split it into several files.",
    )


def bomb() -> ParseFailed:
    """An archive that unpacks to far more than a document holds."""
    return ParseFailed(
        "bomb",
        zh="文件解压后的大小或结构异常（可能是压缩炸弹），已拒绝打开。如果文件来源可靠，请用原程序另存后再上传。",
        en="The file unpacks to an abnormal size or structure (perhaps a zip bomb) and was not opened. If you trust it, save it anew and upload that.",
    )


def no_text() -> ParseFailed:
    """Pages without legible text, and no OCR here."""
    return ParseFailed(
        "no_text",
        zh=f"这个 PDF 没有可用的文字层（可能是扫描件），需要文字识别（OCR）。{_GET_OCR_ZH}",
        en=f"This PDF has no usable text layer (it may be a scan); reading it takes OCR. {_GET_OCR_EN}",
    )


def no_text_by_ocr() -> ParseFailed:
    """OCR found next to nothing either."""
    return ParseFailed(
        "no_text",
        zh="这个 PDF 没有可用的文字层，文字识别（OCR）也没有读出文字。请确认页面不是空白、图像清晰，重新扫描后再上传。",
        en="This PDF has no usable text layer, and OCR found no text in it. Check that its pages are not blank or blurred, scan them anew and upload that.",
    )


def image_without_ocr() -> ParseFailed:
    """An image, and no OCR here."""
    return ParseFailed(
        "unsupported",
        zh=f"读取图片需要文字识别（OCR）。{_GET_OCR_ZH}",
        en=f"Reading an image takes OCR. {_GET_OCR_EN}",
    )


def no_text_in_image() -> ParseFailed:
    """OCR found nothing in an image."""
    return ParseFailed(
        "no_text",
        zh="这张图片中没有识别出文字。请确认图片清晰、包含文字后再上传。",
        en="No text was found in this image. Check that it is sharp and holds text, then upload it again.",
    )


def unsupported(kind_zh: str, kind_en: str, instead_zh: str, instead_en: str) -> ParseFailed:
    """A format that is recognised and not read; `instead_*` says what to upload in its place."""
    return ParseFailed(
        "unsupported",
        zh=f"暂不支持 {kind_zh}。{instead_zh}",
        en=f"{kind_en} is not supported. {instead_en}",
    )
