"""Tables such as offices keep, written here in each format that holds tables, and questions about single cells of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import docx
import openpyxl
import pptx
from pptx.util import Inches

Rows = Sequence[Sequence[str]]

_PROVINCES = (
    "河北", "山西", "辽宁", "吉林", "江苏", "浙江", "安徽", "福建", "江西", "山东",
    "河南", "湖北", "湖南", "广东", "四川", "贵州", "云南", "陕西", "甘肃", "青海",
)  # fmt: skip
OUTPUT: Rows = [[f"{name}省", *(str(210 + 57 * index + 3 * year) for year in range(4))] for index, name in enumerate(_PROVINCES)]
STAFF: Rows = [
    [name, section, post, phone, room]
    for name, section, post, phone, room in (
        ("王建国", "综合处", "处长", "010-66001201", "301"), ("李淑芬", "综合处", "主任科员", "010-66001202", "302"),
        ("张德胜", "财务处", "处长", "010-66001310", "405"), ("赵敏", "财务处", "会计师", "010-66001311", "406"),
        ("陈晓东", "装备处", "副处长", "010-66001420", "511"), ("孙丽华", "装备处", "工程师", "010-66001421", "512"),
        ("周文斌", "训练处", "处长", "010-66001530", "603"), ("吴海燕", "训练处", "参谋", "010-66001531", "604"),
        ("郑伟", "保障处", "处长", "010-66001640", "215"), ("冯雪梅", "保障处", "助理员", "010-66001641", "216"),
        ("蒋志强", "宣传处", "干事", "010-66001750", "118"), ("韩冰", "宣传处", "编辑", "010-66001751", "119"),
    )
]
TESTS: Rows = [
    ["T-101", "血常规", "全自动血细胞分析仪", "30分钟", "25元"], ["T-102", "尿常规", "干化学法", "40分钟", "18元"],
    ["T-203", "肝功能", "速率法", "2小时", "96元"], ["T-204", "肾功能", "酶法", "2小时", "72元"],
    ["T-305", "甲状腺功能", "化学发光法", "1天", "210元"], ["T-306", "肿瘤标志物", "化学发光法", "2天", "380元"],
    ["T-407", "乙肝五项", "酶联免疫法", "1天", "110元"], ["T-408", "血型鉴定", "微柱凝胶法", "1小时", "45元"],
    ["T-509", "凝血四项", "凝固法", "1小时", "88元"], ["T-510", "血糖", "己糖激酶法", "30分钟", "12元"],
]
GOODS: Rows = [
    ["A4复印纸", "70g 500张", "包", "23.5", "得力", "一号库"], ["中性笔", "0.5mm 黑色", "盒", "18", "晨光", "一号库"],
    ["硒鼓", "CF217A", "支", "265", "惠普", "二号库"], ["网线", "六类 305米", "箱", "580", "安普", "三号库"],
    ["灭火器", "4kg 干粉", "具", "96", "淮海", "四号库"], ["应急灯", "双头 LED", "个", "75", "敏华", "四号库"],
    ["折叠床", "190×75厘米", "张", "240", "午憩宝", "五号库"], ["雨衣", "连体 加厚", "件", "68", "天堂", "五号库"],
    ["手套", "丁腈 L码", "双", "3.2", "星宇", "五号库"], ["打包带", "12mm 20公斤", "卷", "150", "宏达", "三号库"],
]
DEVICES: Rows = [
    ["BX-200", "便携式电台", "8公斤", "25公里", "通信站"], ["BX-350", "车载电台", "21公斤", "60公里", "通信站"],
    ["FD-15", "柴油发电机", "180公斤", "15千瓦", "动力班"], ["FD-30", "静音发电机", "320公斤", "30千瓦", "动力班"],
    ["WQ-7", "野外净水机", "95公斤", "每小时700升", "给养班"], ["ZP-4", "自行炊事车", "4200公斤", "保障150人", "给养班"],
    ["YL-2", "急救呼吸机", "6公斤", "续航8小时", "卫生队"], ["YL-9", "便携超声", "5公斤", "续航3小时", "卫生队"],
]
QUESTIONS: Sequence[tuple[str, str, str]] = [
    # question, words of the right row, the cell asked for
    ("河北省2022年的小麦产量是多少？", "河北省", "213"), ("浙江省2024年小麦产量多少万吨？", "浙江省", str(460 + 35 + 9)),
    ("四川省2021年的小麦产量", "四川省", str(910 + 98)), ("青海省2023年小麦产量是多少", "青海省", str(1160 + 133 + 6)),
    ("湖北省2022年小麦产量是多少万吨", "湖北省", str(760 + 77 + 3)), ("云南省2021年产了多少小麦？", "云南省", str(1010 + 112)),
    ("张德胜的电话是多少？", "张德胜", "010-66001310"), ("陈晓东在哪个部门？", "陈晓东", "装备处"), ("吴海燕的职务是什么？", "吴海燕", "参谋"),
    ("冯雪梅的办公室房间号", "冯雪梅", "216"), ("宣传处韩冰的联系电话", "韩冰", "010-66001751"), ("周文斌担任什么职务", "周文斌", "处长"),
    ("肝功能检测用什么方法？", "肝功能", "速率法"), ("肿瘤标志物多长时间出报告？", "肿瘤标志物", "2天"), ("乙肝五项的收费是多少？", "乙肝五项", "110元"),
    ("血型鉴定采用什么检测方法", "血型鉴定", "微柱凝胶法"), ("凝血四项的价格", "凝血四项", "88元"), ("T-305是什么检测项目？", "T-305", "甲状腺功能"),
    ("硒鼓的型号规格是什么？", "硒鼓", "CF217A"), ("应急灯的单价是多少元？", "应急灯", "75"), ("打包带放在哪个仓库？", "打包带", "三号库"),
    ("折叠床是什么品牌的？", "折叠床", "午憩宝"), ("网线的单价", "网线", "580"), ("雨衣存放在哪里", "雨衣", "五号库"),
    ("车载电台的重量是多少？", "车载电台", "21公斤"), ("FD-30的主要性能是什么？", "FD-30", "30千瓦"), ("野外净水机由哪个单位保管？", "野外净水机", "给养班"),
    ("便携超声有多重？", "便携超声", "5公斤"), ("急救呼吸机能续航多久", "急救呼吸机", "续航8小时"), ("自行炊事车能保障多少人？", "自行炊事车", "保障150人"),
]


def files() -> dict[str, bytes]:
    """One document of each format by name."""
    return {
        "小麦产量.xlsx": _workbook(), "通讯录.docx": _word(), "检测项目.html": _html(), "物资清单.csv": _csv(), "装备介绍.pptx": _slides(),
        "考勤.md": "# 考勤管理\n\n员工应当按时上下班。迟到三次记旷工半天。请假须经处长批准，电话请假事后补手续。".encode(),
    }  # fmt: skip


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    save(out)
    return out.getvalue()


def _workbook() -> bytes:
    """A title, a unit, a header of two rows with merged groups."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["各省小麦产量与面积统计表"])
    sheet.append(["单位：万吨"])
    sheet.append(["省份", "小麦产量"])
    sheet.append([None, 2021, 2022, 2023, 2024])
    for place in ("A1:E1", "A2:E2", "A3:A4", "B3:E3"):
        sheet.merge_cells(place)
    for row in OUTPUT:
        sheet.append([row[0], *map(int, row[1:])])
    return _saved(book.save)


def _word() -> bytes:
    """The department stands once for all of its people."""
    document = docx.Document()
    document.add_heading("机关通讯录", level=1)
    table = document.add_table(rows=1 + len(STAFF), cols=5)
    for cell, text in zip(table.rows[0].cells, ("部门", "姓名", "职务", "电话", "房间"), strict=True):
        cell.text = text
    for index, (name, section, post, phone, room) in enumerate(STAFF, 1):
        repeated = index > 1 and STAFF[index - 2][1] == section
        for column, text in enumerate(("" if repeated else section, name, post, phone, room)):
            table.cell(index, column).text = text
        if repeated:
            table.cell(index - 1, 0).merge(table.cell(index, 0))
    return _saved(document.save)


def _html() -> bytes:
    head = "".join(f"<th>{text}</th>" for text in ("编号", "检测项目", "检测方法", "报告时间", "收费"))
    body = "".join("<tr>" + "".join(f"<td>{text}</td>" for text in row) + "</tr>" for row in TESTS)
    return f"<html><body><h1>检验科项目表</h1><table><tr>{head}</tr>{body}</table></body></html>".encode()


def _csv() -> bytes:
    return "\n".join(",".join(row) for row in [("物品名称", "规格型号", "单位", "单价", "品牌", "存放仓库"), *GOODS]).encode("gbk")


def _slides() -> bytes:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "装备介绍"
    table = slide.shapes.add_table(1 + len(DEVICES), 5, Inches(0.5), Inches(1.5), Inches(9), Inches(5)).table
    for index, row in enumerate([("型号", "名称", "重量", "主要性能", "保管单位"), *DEVICES]):
        for column, text in enumerate(row):
            table.cell(index, column).text = text
    return _saved(deck.save)
