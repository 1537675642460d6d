"""Words by which people ask for relations: a table for common ones, in Chinese and English, with the rule which label belongs to which words; and what words
may be set for a relation of a graph. Pure.

A relation has a head and a tail: (红楼梦, 作者, 曹雪芹). Four kinds of words speak for it:
`nouns` name its tail as seen from its head (红楼梦的作者); `inverse` name its head as seen from its tail (曹雪芹的作品);
`tail_does` is what the tail does to the head (曹雪芹写了红楼梦); `head_does` what the head does with regard to the tail (鲁迅出生于绍兴).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from qzbrain.errors import InvalidRequest
from qzbrain.graph.intent import words
from qzbrain.text.normalize import searchable

MOST_CUES = 50
CUE_CHARS = 64
_NEVER = re.compile(r"(?!)")
_DOER = re.compile(r"([\u4e00-\u9fff]{2,4})(?:人|者|员|方|商|师|单位|机构|部门|厂家|公司)$")
_HAPPENS = re.compile(r"([\u4e00-\u9fff]{2,4})(?:时间|日期|年份|年月|地点|地)$")


@dataclass(frozen=True, slots=True)
class Group:
    """Words for some labels."""

    labels: tuple[str, ...]
    nouns: re.Pattern[str]
    inverse: re.Pattern[str]
    tail_does: re.Pattern[str]
    head_does: re.Pattern[str]


def _pattern(chinese: str, english: str) -> re.Pattern[str]:
    some = [one for one in (chinese, rf"(?<![a-z])(?:{english})(?![a-z])" if english else "") if one]
    return re.compile("|".join(some)) if some else _NEVER


def _group(labels: str, nouns: str = "", inverse: str = "", tail_does: str = "", head_does: str = "", **english: str) -> Group:
    """`labels` are parted by blanks, with `_` for a blank in one; the English words for each kind as `n`, `i`, `t`, `h`."""
    return Group(
        tuple(searchable(one) for one in words(labels)),
        _pattern(nouns, english.get("n", "")),
        _pattern(inverse, english.get("i", "")),
        _pattern(tail_does, english.get("t", "")),
        _pattern(head_does, english.get("h", "")),
    )


GROUPS: tuple[Group, ...] = (
    _group(
        "作者 著者 编者 作家 原著 编著 撰写 author writer written_by authors",
        "作者|作家|笔下",
        "作品|著作|小说|(?<=的)书",
        "写|着(?=[了作过\ufffc])|编写|编着|创作",
        n="author|writer",
        i="books?|works?|novels?|poems?|plays?",
        t="wrote|writes?|written|authored|penned",
    ),
    _group("作曲 作曲者 曲作者 composer composed_by", "作曲", "乐曲|曲子", "谱曲|作曲|谱写", n="composer", t="composed?"),
    _group("作词 填词 词作者 lyricist", "作词|填词", "", "作词|填词|写词", n="lyricist"),
    _group("画家 painter artist", "画家", "画作|名画", "画(?=[了的过])|绘制|创作", n="painter|artist", i="paintings?", t="painted|paint"),
    _group(
        "出生日期 出生时间 生日 出生年月 生卒 birth_date date_of_birth birthday born born_on birthdate birth_year year_of_birth",
        "生日|出生日期|多大年纪",
        head_does=r"(?:何时|什么时候|哪一?年|哪一?天|什么时间|几[年月])(?:出生|诞生|生)|(?:出生|生)[于在]?(?:何时|什么时候|哪一?年|哪一?天)|出生|诞生",
        n="birthday|date of birth|birth ?date",
        h="born",
    ),
    _group(
        "出生地 籍贯 祖籍 出生地点 birthplace place_of_birth birth_place born_in hometown",
        "籍贯|祖籍|老家|家乡|故乡|哪里人|哪儿人|什么地方人",
        "",
        "",
        "出生|诞生|生于",
        n="birthplace|place of birth|hometown",
        h="born",
    ),
    _group(
        "逝世日期 去世时间 逝世时间 死亡日期 生卒 卒年 death_date date_of_death died died_on",
        "忌日|死亡日期",
        head_does="去世|逝世|死于|死亡|过世|(?<=[时候年天])死|卒",
        n="date of death",
        h="died?|pass(?:ed)? away",
    ),
    _group("逝世地 逝世地点 死亡地点 place_of_death death_place died_in", "", "", "", "去世|逝世|死于|死亡|过世|死在", n="place of death", h="died?"),
    _group("死因 死亡原因 cause_of_death", "死因", "", "", "(?:怎么|为什么|为何|因何)(?:会)?死|死于什么", n="cause of death", h="how did \ufffc die|die of"),
    _group("国籍 nationality citizenship country_of_citizenship", "国籍|哪国人|哪个国家的人|哪国|国家", n="nationality|citizenship", h="from"),
    _group("国家 所属国家 制片地区 产地 country country_of_origin located_in_country", "哪国|国家|哪个国家", n="country"),
    _group(
        "配偶 伴侣 夫妻 spouse married_to partner",
        "老婆|妻子|丈夫|老公|配偶|太太|夫人|爱人|媳妇|先生(?=是谁)",
        "",
        "",
        "结婚|嫁|娶",
        n="wife|husband|spouse|partner",
        h="marr(?:y|ied)",
    ),
    _group(
        "妻子 夫人 老婆 wife",
        "老婆|妻子|太太|夫人|媳妇|配偶|爱人",
        "丈夫|老公|配偶|爱人|先生(?=是谁)",
        "嫁",
        "娶|结婚",
        n="wife|spouse",
        i="husband|spouse",
        h="marr(?:y|ied)",
    ),
    _group(
        "丈夫 老公 husband",
        "丈夫|老公|配偶|爱人|先生(?=是谁)",
        "老婆|妻子|太太|夫人|媳妇|配偶|爱人",
        "娶",
        "嫁|结婚",
        n="husband|spouse",
        i="wife|spouse",
        h="marr(?:y|ied)",
    ),
    _group("父亲 爸爸 father", "爸爸|父亲|爹|老爸", "儿子|女儿|子女|孩子|儿女|后代", n="father|dad", i="children|child|sons?|daughters?|kids?"),
    _group("母亲 妈妈 mother", "妈妈|母亲|娘亲|老妈", "儿子|女儿|子女|孩子|儿女", n="mother|mom|mum", i="children|child|sons?|daughters?|kids?"),
    _group(
        "父母 双亲 parents parent",
        "父母|双亲|爸妈|父亲|母亲|爸爸|妈妈",
        "儿子|女儿|子女|孩子|儿女",
        n="parents?|father|mother",
        i="children|child|sons?|daughters?",
    ),
    _group(
        "子女 儿子 女儿 孩子 children child son daughter",
        "儿子|女儿|子女|孩子|儿女|后代",
        "爸爸|父亲|妈妈|母亲|父母|爹",
        n="children|child|sons?|daughters?|kids?",
        i="father|mother|parents?",
    ),
    _group("兄弟姐妹 兄弟 哥哥 弟弟 姐姐 妹妹 sibling brother sister siblings", "兄弟|哥哥|弟弟|姐姐|妹妹|姐妹", n="siblings?|brothers?|sisters?"),
    _group(
        "老师 师父 导师 师承 teacher advisor doctoral_advisor",
        "老师|师父|导师|师傅|师从",
        "学生|弟子|徒弟|门生",
        "教",
        "师从",
        n="teacher|advisor",
        i="students?|pupils?",
        t="taught",
    ),
    _group(
        "学生 弟子 徒弟 student students",
        "学生|弟子|徒弟|门生",
        "老师|师父|导师|师傅",
        "师从",
        "教(?=[过了])",
        n="students?|pupils?",
        i="teacher|advisor",
        h="taught",
    ),
    _group(
        "创始人 创办人 创建者 创立者 founder founded_by founders",
        "创始人|创办人|创立者",
        "",
        "创办|创立|创建|成立|建立|开创",
        n="founders?|creator",
        i="compan(?:y|ies)",
        t="founded|found|started|established|created|set up",
    ),
    _group(
        "成立时间 创办时间 创建时间 创立时间 建立时间 成立日期 始建时间 founded inception founding_date founded_in established date_founded year_founded",
        "",
        "",
        "",
        "创办|创立|创建|成立|建立|建成|始建|建校",
        n="founding date|inception",
        h="founded|established|started|created|set up",
    ),
    _group(
        "别名 别称 又名 外号 绰号 俗称 中文别名 alias also_known_as nickname",
        "别名|别称|外号|绰号|俗称|昵称|小名",
        "",
        "",
        "又叫|也叫|还叫|又名|又称",
        n="nickname|alias",
        h="also (?:known|called)",
    ),
    _group(
        "地址 地理位置 位置 所在地 地点 所属地区 所处地区 所在地区 location located_in address place",
        "在哪|哪里|哪儿|位置|什么地方|地址|何处|何地",
        "",
        "",
        "位于|坐落|地处",
        n="location|address|where is \ufffc",
        h="located|situated|in which (?:city|country|province)",
    ),
    _group(
        "总部地点 总部 总部所在地 总部位置 headquarters headquarters_location headquartered_in based_in",
        "总部|在哪|哪里|哪儿",
        "公司|企业",
        "",
        "位于|总部在|总部设在",
        n="headquarters|head office|hq|where is \ufffc",
        i="compan(?:y|ies)",
        h="headquartered|based|located",
    ),
    _group("首都 首府 省会 capital capital_city", "首都|首府|省会", "哪国|哪个国家|哪个省", n="capital"),
    _group(
        "毕业院校 毕业学校 母校 alma_mater educated_at graduated_from education",
        "母校|学历|哪所学校|哪所大学|哪个大学",
        "校友|毕业生",
        "",
        "毕业|就读|上学|读书",
        n="alma mater|university",
        i="alumni|graduates",
        h="graduated?|stud(?:y|ied)|educated|attended|go to (?:school|university|college)",
    ),
    _group(
        "所属行业 行业 主营 经营范围 主营业务 industry sector",
        "哪一?行|行业|做什么的|干什么的|主营",
        "公司|企业",
        n="industry|sector|line of business",
        i="compan(?:y|ies)",
    ),
    _group("职业 职务 职位 occupation profession job position", "职业|干什么|做什么|职务|工作", n="occupation|profession|job", h="do for a living|work as"),
    _group(
        "雇主 任职公司 就职于 任职于 工作单位 employer works_at works_for employed_by",
        "雇主|单位|公司",
        "员工|雇员|职员",
        "雇|聘",
        "任职|就职|供职|工作|上班",
        n="employer",
        i="employees?",
        t="employs?",
        h="works?|working|employed",
    ),
    _group(
        "歌手 演唱者 原唱 歌曲原唱 singer performer performed_by",
        "歌手|原唱|演唱者",
        "歌曲?",
        "唱|演唱|翻唱",
        n="singer|performer",
        i="songs?|albums?",
        t="sang|sings?|sung|performed",
    ),
    _group(
        "主演 演员 参演 领衔主演 starring cast actor actors stars cast_member",
        "演员|主演|男主角|女主角|主角",
        "电影|影片|电视剧|影视作品|代表作",
        "主演|出演|参演|饰演|演(?!员|唱|出)",
        n="actors?|actress|cast|stars?",
        i="films?|movies?",
        t="star(?:s|red|ring)?|acted?|appear(?:s|ed)?|play(?:s|ed)?",
    ),
    _group("导演 director directed_by", "导演", "电影|影片|片子", "拍|导演|执导|导(?=[过了的])", n="director", i="films?|movies?", t="directed|directs?|made"),
    _group("编剧 screenwriter screenplay", "编剧", "", "编剧|写剧本", n="screenwriter", t="wrote the screenplay"),
    _group("制片人 制片 producer produced_by", "制片人?|制作人", "", "制片|监制", n="producer", t="produced"),
    _group(
        "上映时间 上映日期 首播时间 首映时间 release_date released release_year",
        "",
        "",
        "",
        "上映|首映|播出|首播|公映",
        n="release date|release year",
        h="released?|come out|came out|premiered?",
    ),
    _group("发行时间 发行日期 发售日期 发售时间 release_date", "", "", "", "发行|发售|上市", h="released?|come out|came out"),
    _group("出版社 出版单位 publisher published_by", "出版社", "书|出版物", "出版|发行", n="publisher", i="books?", t="published"),
    _group(
        "出版时间 出版日期 出版年份 publication_date published publication_year", "", "", "", "出版|发表", n="publication date", h="published|come out|came out"
    ),
    _group("身高 高度 海拔 height elevation", "多高|身高|高度|海拔", n="how (?:tall|high)|height|elevation|altitude"),
    _group("体重 重量 质量 weight mass", "多重|体重|重量", n="how (?:heavy|much does \ufffc weigh)|weight|mass", h="weighs?"),
    _group("面积 占地面积 总面积 area surface_area total_area", "多大|面积|占地", n="how (?:big|large)|area|size"),
    _group("年龄 岁数 age", "多大|年龄|几岁|多少岁|岁数", n="how old|age"),
    _group("长度 全长 片长 时长 length duration running_time runtime", "多长|长度|全长|多久", n="how long|length|duration|running time"),
    _group("深度 水深 最大深度 depth", "多深|深度", n="how deep|depth"),
    _group("宽度 width", "多宽|宽度", n="how wide|width"),
    _group("距离 射程 distance range", "多远|距离", n="how far|distance|range"),
    _group("速度 最高速度 最高车速 speed top_speed", "多快|速度|时速", n="how fast|speed"),
    _group("价格 定价 参考价格 售价 票价 门票 价位 price cost", "价格|多少钱|卖多少|价钱|售价|几块钱", n="price|how much (?:is|does|do)|cost"),
    _group("人口 人口数量 总人口 population", "人口|多少人", n="population|how many (?:people|inhabitants)"),
    _group("注册资本 注册资金 registered_capital", "注册资本|注册资金", n="registered capital"),
    _group(
        "员工人数 员工数 员工数量 人员规模 employees number_of_employees",
        "多少员工|多少人|员工数|员工人数",
        n="how many (?:employees|people)|number of employees|employees",
    ),
    _group("营业额 营收 年营业额 收入 revenue", "营业额|营收|收入", n="revenue|turnover"),
    _group("电话 联系电话 电话区号 phone telephone", "电话|联系方式|号码", n="phone|telephone"),
    _group("邮政编码 邮编 postal_code zip_code", "邮编|邮政编码", n="postal code|zip code|postcode"),
    _group("官网 官方网站 网址 website official_website url", "官网|网站|网址|主页", n="website|web ?site|home ?page|url"),
    _group("代码 股票代码 编码 证券代码 code stock_code ticker", "代码|编码", n="code|ticker"),
    _group("英文名 外文名 英文名称 外文名称 english_name", "英文|外文|英语", n="english name|in english"),
    _group(
        "类型 类别 分类 所属类别 种类 体裁 题材 type genre category kind",
        "类型|类别|哪类|哪种|什么类|属于|题材|体裁|什么(?=病|书)",
        n="genre|type|kind|category",
    ),
    _group("语言 官方语言 使用语言 language official_language languages", "语言|什么话|哪种话|什么语", n="languages?", h="spoken|speaks?"),
    _group("货币 currency", "货币|什么钱", n="currency|money"),
    _group("内容 简介 主题 剧情 梗概 summary plot theme", "内容|剧情|情节|简介|梗概|主题", "", "", "讲|讲述|关于|描写", n="plot|summary|theme", h="about"),
    _group(
        "简介 定义 是指 含义 描述 介绍 概述 释义 definition description desc meaning abstract means is_defined_as",
        "定义|含义|意思|是什么|什么是|是指什么|指什么|指的是什么|是啥|啥是|何谓|何为|什么叫|介绍|简介|概念",
        n=r"definition|meaning|what (?:is|are) (?:an? |the )?\ufffc(?=[?？.]?$)|description",
        h="mean|defined|tell me about",
    ),
    _group(
        "负责人 董事长 总裁 法人代表 公司领导 法定代表人 领导 ceo chairman president chief_executive_officer leader head",
        "老板|负责人|领导|总裁|董事长|一把手|掌门人|掌门",
        "",
        "领导|执掌|掌管|管理",
        n="boss|leader|head|ceo|chief executive(?: officer)?|chairman|president",
        t="leads?|runs?|heads?",
    ),
    _group(
        "股东 大股东 持股 shareholder owner owned_by parent_company",
        "股东|大股东|老板|东家|母公司|控股公司",
        "子公司|旗下",
        "持有|控股|收购|拥有",
        n="shareholders?|owners?|parent company",
        i="subsidiar(?:y|ies)",
        t="owns?|owned|bought|acquired",
    ),
    _group(
        "子公司 旗下公司 下属公司 subsidiary subsidiaries owns",
        "子公司|旗下|下属公司",
        "母公司|东家|控股公司",
        "",
        "控股|拥有|持有",
        n="subsidiar(?:y|ies)",
        i="parent company|owner",
        h="owns?",
    ),
    _group("收购 并购 acquired acquisition", "", "", "", "收购|并购|买下", h="acquired?|bought|buy"),
    _group("投资 投资方 投资人 investor invested_in", "投资方|投资人|投资者", "", "", "投资", n="investors?", h="invest(?:ed|s)?"),
    _group(
        "生产厂家 制造商 生产商 厂商 生产企业 manufacturer made_by maker developer developed_by",
        "厂家|厂商|制造商|生产商|开发商|开发者|牌子|品牌",
        "产品|车型|游戏",
        "制造|生产|出品|开发|研发|做(?=的)",
        n="manufacturer|maker|developer",
        i="products?|games?|models?",
        t="makes?|made|manufactures?|manufactured|produces?|produced|developed|built",
    ),
    _group(
        "产品 主要产品 主营产品 product products",
        "产品",
        "厂家|厂商|制造商|生产商|公司",
        "",
        "生产|制造|卖|销售|出品|研发",
        n="products?",
        i="manufacturer|maker",
        h="makes?|made|produces?|produced|sells?",
    ),
    _group(
        "原料 材料 成分 主要原料 食材 主要食材 配料 ingredients ingredient material made_of composition",
        "原料|材料|成分|食材|配料|什么做的|什么组成",
        n="ingredients?|materials?",
        h="made (?:of|from)|contains?",
    ),
    _group(
        "隶属 隶属于 所属 主管部门 主管单位 上级部门 所属机构 所属部门 part_of belongs_to member_of parent",
        "上级|哪个部门|哪个单位",
        "下属|下级|成员",
        "管辖|主管|管理",
        "属于|隶属|归属|归(?=[哪谁什])",
        n="parent",
        i="members?|parts?",
        h="belongs?|part of|member",
    ),
    _group(
        "下辖地区 下辖 管辖 组成 consists_of has_part",
        "下辖|组成部分",
        "",
        "",
        "管辖|下辖|包含|包括|含有|由(?=哪些|什么)|分为|组成",
        n="parts?",
        h="contains?|includes?|consists?",
    ),
    _group(
        "包含 包括 contains includes",
        "组成部分",
        "",
        "属于|隶属于|出自",
        "包含|包括|含有|有(?=哪些|几|多少)|分为",
        n="parts?",
        t="belongs?|part of",
        h="contains?|includes?|ha(?:s|ve)",
    ),
    _group("引用 引用法条 references cites refers_to", "", "", "", "引用|援引|依据|参照|提到|指向", h="cites?|cited|refers?|references?|referenced|mentions?"),
    _group(
        "症状 临床症状 常见症状 表现 典型症状 symptom symptoms",
        "症状|表现|征兆|前兆|反应",
        "什么病|哪些病|哪种病|疾病",
        n="symptoms?|signs?",
        i="diseases?|illness(?:es)?",
    ),
    _group(
        "治疗 治疗方法 治疗方式 疗法 treatment treated_with",
        "疗法|治法|怎么治|怎么办|如何治",
        "",
        "治",
        "治疗|医治",
        n="treatments?|cure|therapy",
        t="treats?|cures?",
        h="treated",
    ),
    _group(
        "病因 原因 常见病因 发病原因 cause causes caused_by",
        "病因|原因|成因|为什么会|怎么引起|怎么得",
        "",
        "引起|导致|造成|引发",
        n="causes?",
        t="causes?|caused",
    ),
    _group("并发症 complication complications", "并发症", "", "", "并发|引发|引起|导致", n="complications?", h="leads? to|causes?"),
    _group("科室 就诊科室 所属科室 department", "科室|挂什么科|哪个科|什么科|挂号", "", "", "就诊", n="department"),
    _group(
        "药品 常用药物 常用药品 推荐药品 药物 用药 drug medication medicine drugs",
        "药|吃什么药|用什么药|药物|药品",
        "什么病|哪些病|适应症",
        n="drugs?|medications?|medicines?",
    ),
    _group(
        "适应症 主治 主治功能 功能主治 功效 作用 用途 indication indications treats used_for",
        "适应症|功效|作用|用途|好处",
        "什么药|哪些药|用药",
        "",
        "治疗|主治|治|管|用来",
        n="indications?|uses?",
        i="drugs?|medications?|medicines?",
        h="treats?|cures?|used for",
    ),
    _group("好友 朋友 挚友 friend friends", "朋友|好友|挚友", n="friends?"),
    _group("民族 ethnicity ethnic_group", "民族|什么族|哪个族|哪族", n="ethnicity|ethnic group"),
    _group(
        "奖项 获得奖项 获奖 主要成就 award awards award_received prize",
        "奖项|什么奖|哪些奖|成就",
        "得主|获奖者",
        "",
        "获得|获奖|得过|拿过|获",
        n="awards?|prizes?",
        i="winners?",
        h="won|win|received?",
    ),
    _group(
        "代表作品 代表作 作品 主要作品 notable_work works notable_works",
        "代表作|作品|写过什么|写了什么|着作|名作",
        "作者|作家",
        "",
        "写|创作|着(?=[了作过有])",
        n="works?|books?",
        i="author|writer",
        h="wrote|writes?|written|created",
    ),
    _group(
        "发明人 发明者 inventor invented_by discoverer discovered_by 发现者",
        "发明人|发明者|发现者",
        "发明",
        "发明|发现",
        n="inventor|discoverer",
        i="inventions?",
        t="invented?|discovered?",
    ),
    _group(
        "发明 发现 主要发明 invention discovery invented discovered",
        "发明",
        "发明人|发明者|发现者",
        "",
        "发明|发现",
        n="inventions?",
        i="inventor",
        h="invented?|discovered?",
    ),
    _group("开放时间 营业时间 opening_hours", "几点", "", "", "开门|开放|营业|开馆", n="opening hours", h="open"),
    _group("邻国 相邻 接壤 neighbour borders shares_border_with", "邻国|邻居|接壤|相邻|毗邻", n="neighbou?rs?", h="borders?"),
)
SYMMETRIC = frozenset(
    searchable(one)
    for one in words(
        "配偶 夫妻 伴侣 朋友 好友 挚友 同学 同事 兄弟 姐妹 兄弟姐妹 合作 合作伙伴 相邻 邻国 接壤 毗邻 友好城市 竞争对手 队友 "
        "搭档 同门 spouse sibling siblings friend friends partner married_to borders twin_city twinned_with neighbour neighbor "
        "competitor shares_border_with colleague"
    )
)
"""What holds in both directions."""


def cleaned(words: Sequence[str], param: str) -> list[str]:
    """Words to be set for a relation, each once as a search sees it, without blanks at their ends. Raises InvalidRequest."""
    found: dict[str, str] = {}
    for word in words:
        said = word.strip()
        if not searchable(said).strip() or len(said) > CUE_CHARS or not said.isprintable():
            raise InvalidRequest(
                zh=f"关系的提示词须为 1 到 {CUE_CHARS} 个可见字符：{said[:20]!r}。请改短或去掉它。",
                en=f"A relation's cue word has 1 to {CUE_CHARS} printable characters: {said[:20]!r}. Shorten it, or leave it out.",
                param=param,
            )
        found.setdefault(searchable(said), said)
    if len(found) > MOST_CUES:
        raise InvalidRequest(
            zh=f"每个方向最多 {MOST_CUES} 个提示词，收到 {len(found)} 个。",
            en=f"At most {MOST_CUES} cue words for each direction; there are {len(found)}.",
            param=param,
        )
    return list(found.values())


@lru_cache(maxsize=1 << 15)
def groups_of(label: str) -> tuple[tuple[Group, float], ...]:
    """The words for a label as `label_key` gives it; with each how much less sure it is because the label only has one of theirs in it.

    What a Chinese label means stands at its end: 歌曲原唱 is asked for as 原唱 is, 作品风格 hardly as 作品 is.
    """
    best: dict[int, float] = {}
    for part, less in _parts(label):
        for number in _BY_LABEL.get(part, ()):
            best[number] = min(less, best.get(number, 1.0))
    return tuple((GROUPS[number], less) for number, less in sorted(best.items()))


@lru_cache(maxsize=1 << 15)
def verb_of(label: str) -> tuple[tuple[Group, float], ...]:
    """The verb in a Chinese label that names who does something (负责人: 甲负责乙), or when or where something happens (发源地: 甲发源于乙)."""
    doer, place = _DOER.match(label), _HAPPENS.match(label)
    if doer is None and place is None:
        return ()
    verb = re.compile(re.escape((doer or place)[1]))  # type: ignore[index]
    return ((Group((label,), _NEVER, _NEVER, verb if doer else _NEVER, _NEVER if doer else verb), 0.0),)


def _parts(label: str) -> Iterator[tuple[str, float]]:
    """What of a label may be one that has words, with how much less sure that is."""
    yield label, 0.0
    words = label.split()
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            if words[start].isascii() and words[end - 1].isascii():
                yield " ".join(words[start:end]), 0.12
    if not label.isascii() and len(label) <= 20:
        for start in range(len(label) - 1):
            for end in range(start + 2, len(label) + 1):
                if not label[start:end].isascii():
                    yield label[start:end], 0.12 if end == len(label) else 0.4


_BY_LABEL: dict[str, list[int]] = {}
for _number, _one in enumerate(GROUPS):
    for _label in _one.labels:
        _BY_LABEL.setdefault(_label, []).append(_number)
