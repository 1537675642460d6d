"""What a graph answers: one step in both directions, lists, counts, several steps, comparisons, ways, yes and no; and what it leaves alone."""

from __future__ import annotations

import pytest

from tests.graph.answering import BOOKS, COMPANIES, ENGLISH, FILMS, HOSPITAL, LAW, answerer

SURE = 0.6
Rows = tuple[tuple[str, ...], ...]

ANSWERED: tuple[tuple[Rows, str, set[str]], ...] = (
    # forward, by label and by other words
    (BOOKS, "红楼梦的作者是谁？", {"曹雪芹"}),
    (BOOKS, "谁写了《红楼梦》？", {"曹雪芹"}),
    (BOOKS, "《红楼梦》是谁写的", {"曹雪芹"}),
    (BOOKS, "紅樓夢的作者是誰", {"曹雪芹"}),
    (BOOKS, "请问鲁迅的老婆是谁？", {"朱安", "许广平"}),
    (BOOKS, "鲁迅是哪里人", {"绍兴"}),
    (BOOKS, "鲁迅出生在哪里", {"绍兴"}),
    (BOOKS, "鲁迅是什么时候出生的？", {"1881年9月25日"}),
    (BOOKS, "鲁迅是干什么的", {"作家"}),
    (BOOKS, "鲁迅毕业于哪所学校", {"仙台医学专门学校"}),
    (BOOKS, "呐喊是哪年出版的？", {"1923年8月"}),
    (BOOKS, "呐喊是哪个出版社出版的", {"新潮社"}),
    (FILMS, "霸王别姬是谁导演的", {"陈凯歌"}),
    (FILMS, "霸王别姬这部电影的导演是谁", {"陈凯歌"}),
    (FILMS, "电影霸王别姬是谁拍的", {"陈凯歌"}),
    (FILMS, "霸王别姬什么时候上映", {"1993-01-01"}),
    (FILMS, "霸王别姬有多长", {"171分钟"}),
    (FILMS, "谁演了霸王别姬", {"张国荣", "巩俐"}),
    (FILMS, "巩俐多高", {"168cm"}),
    (COMPANIES, "晨光科技是谁创办的", {"李明远"}),
    (COMPANIES, "谁创立了晨光科技", {"李明远"}),
    (COMPANIES, "晨光科技的总部在哪", {"杭州"}),
    (COMPANIES, "晨光科技公司的总部在哪个城市", {"杭州"}),
    (COMPANIES, "晨光科技成立于哪一年？", {"2003年5月"}),
    (COMPANIES, "晨光科技有多少员工", {"3500人"}),
    (COMPANIES, "远海集团是做什么行业的", {"航运"}),
    (COMPANIES, "远海集团的老板是谁", {"王海"}),
    (HOSPITAL, "偏头痛有什么症状", {"恶心", "畏光"}),
    (HOSPITAL, "偏头痛应该挂什么科？", {"神经内科"}),
    (HOSPITAL, "偏头痛吃什么药", {"布洛芬"}),
    (LAW, "什么是非全日制用工？", {LAW[4][2]}),
    (LAW, "非全日制用工的定义是什么", {LAW[4][2]}),
    (LAW, "试用期是什么意思？", {LAW[5][2]}),
    (LAW, "中华人民共和国劳动合同法第八十三条引用了哪一条？", {"中华人民共和国劳动合同法第十九条"}),
    # backward
    (BOOKS, "鲁迅写了什么？", {"呐喊", "彷徨", "朝花夕拾"}),
    (BOOKS, "鲁迅写过哪些书", {"呐喊", "彷徨", "朝花夕拾"}),
    (BOOKS, "鲁迅的作品有哪些", {"呐喊", "彷徨", "朝花夕拾"}),
    (BOOKS, "鲁迅是哪些书的作者？", {"呐喊", "彷徨", "朝花夕拾"}),
    (BOOKS, "谁的妻子是许广平", {"鲁迅"}),
    (BOOKS, "许广平是谁的妻子？", {"鲁迅"}),
    (BOOKS, "许广平的丈夫是谁", {"鲁迅"}),
    (BOOKS, "钱钟书的妻子是谁", {"杨绛"}),
    (BOOKS, "鲁迅的儿子是谁", {"周海婴"}),
    (BOOKS, "朝花夕拾是谁的作品", {"鲁迅"}),
    (BOOKS, "出生在绍兴的人有哪些", {"鲁迅"}),
    (FILMS, "张艺谋导演了哪些电影？", {"活着", "大红灯笼高高挂"}),
    (FILMS, "张艺谋拍过什么电影", {"活着", "大红灯笼高高挂"}),
    (FILMS, "巩俐主演的电影有哪些", {"霸王别姬", "活着", "大红灯笼高高挂"}),
    (FILMS, "葛优演过什么", {"活着"}),
    (FILMS, "陈婷的丈夫是谁", {"张艺谋"}),
    (COMPANIES, "总部在上海的公司有哪些", {"远海集团", "蓝鲸航运"}),
    (COMPANIES, "航运行业有哪些公司", {"远海集团", "蓝鲸航运"}),
    (COMPANIES, "王海是哪家公司的董事长", {"远海集团"}),
    (COMPANIES, "王海担任哪个公司的董事长", {"远海集团"}),
    (COMPANIES, "谁毕业于大连海事大学", {"王海", "赵宁"}),
    (COMPANIES, "毕业于大连海事大学的有谁", {"王海", "赵宁"}),
    (COMPANIES, "谁收购了蓝鲸航运", {"远海集团"}),
    (COMPANIES, "远海集团收购了哪家公司", {"蓝鲸航运"}),
    (HOSPITAL, "布洛芬治什么病", {"偏头痛", "牙周炎"}),
    (LAW, "哪些条款引用了中华人民共和国劳动合同法第十九条", {"中华人民共和国劳动合同法第八十三条"}),
    # several steps
    (BOOKS, "红楼梦的作者的出生地是哪里？", {"南京"}),
    (BOOKS, "红楼梦的作者出生在哪里", {"南京"}),
    (BOOKS, "红楼梦作者的父亲是谁", {"曹颙"}),
    (BOOKS, "写《红楼梦》的人是哪年出生的", {"1715年"}),
    (BOOKS, "彷徨的作者还写过哪些书", {"呐喊", "朝花夕拾"}),
    (BOOKS, "呐喊的作者的母亲的出生地", {"安桥头"}),
    (BOOKS, "红楼梦的作者的出生地属于哪个省份", {"江苏"}),
    (FILMS, "大红灯笼高高挂的导演的配偶是谁", {"陈婷"}),
    (FILMS, "霸王别姬的导演的老婆是谁", {"陈红"}),
    (COMPANIES, "远海集团的董事长毕业于哪里", {"大连海事大学"}),
    (COMPANIES, "晨光云的负责人是哪里人", {"湖南长沙"}),
    (COMPANIES, "晨光科技的创始人的妻子是做什么的", {"晨光科技财务总监"}),
    # in English
    (ENGLISH, "Who wrote Hamlet?", {"William Shakespeare"}),
    (ENGLISH, "Who is the author of Hamlet?", {"William Shakespeare"}),
    (ENGLISH, "What did William Shakespeare write?", {"Hamlet", "Macbeth"}),
    (ENGLISH, "Which books were written by William Shakespeare?", {"Hamlet", "Macbeth"}),
    (ENGLISH, "Where was William Shakespeare born?", {"Stratford-upon-Avon"}),
    (ENGLISH, "When was William Shakespeare born?", {"April 1564"}),
    (ENGLISH, "Who was William Shakespeare's wife?", {"Anne Hathaway"}),
    (ENGLISH, "Who founded Acme Corporation?", {"Jane Miller"}),
    (ENGLISH, "When was Acme Corporation founded?", {"1987"}),
    (ENGLISH, "Where is Acme Corporation headquartered?", {"Boston"}),
    (ENGLISH, "Which companies are headquartered in Boston?", {"Acme Corporation", "Globex"}),
    (ENGLISH, "What is the capital of France?", {"Paris"}),
    (ENGLISH, "Paris is the capital of which country?", {"France"}),
    (ENGLISH, "Who directed Inception?", {"Christopher Nolan"}),
    (ENGLISH, "Which films did Christopher Nolan direct?", {"Inception", "Dunkirk"}),
    (ENGLISH, "films directed by Christopher Nolan", {"Inception", "Dunkirk"}),
    (ENGLISH, "What movies did Leonardo DiCaprio star in?", {"Inception", "Titanic"}),
    (ENGLISH, "Who starred in Titanic?", {"Leonardo DiCaprio"}),
    (ENGLISH, "Where was the author of Hamlet born?", {"Stratford-upon-Avon"}),
    (ENGLISH, "Who is the spouse of the author of Macbeth?", {"Anne Hathaway"}),
    (ENGLISH, "Where did the founder of Acme Corporation study?", {"Stanford University"}),
    (ENGLISH, "What is the population of the capital of France?", {"2.1 million"}),
    # in one language over labels of the other
    (ENGLISH, "Hamlet 的作者是谁", {"William Shakespeare"}),
    (ENGLISH, "Christopher Nolan 导演了哪些电影", {"Inception", "Dunkirk"}),
    (BOOKS, "Who wrote 红楼梦?", {"曹雪芹"}),
)  # fmt: skip


@pytest.mark.parametrize(("rows", "question", "values"), ANSWERED, ids=[one[1] for one in ANSWERED])
def test_a_question_is_answered(rows: Rows, question: str, values: set[str]) -> None:
    answer = answerer(rows).answer(question)
    assert set(answer.values) == values and answer.steps and answer.score > 0
    assert answer.confidence >= SURE


LEFT_ALONE: tuple[tuple[Rows, str], ...] = (
    (BOOKS, "《论语》的编者是谁？"),
    (BOOKS, "鲁迅的鞋码是多少？"),
    (BOOKS, "鲁迅为什么要弃医从文？"),
    (BOOKS, "红楼梦中刘姥姥几次进入大观园，分别发生了什么？"),
    (BOOKS, "呐喊在中国现代文学史上有怎样的地位"),
    (BOOKS, "许广平的妻子是谁"),
    (BOOKS, "曹雪芹的学生有哪些"),
    (FILMS, "张艺谋对中国电影产生了哪些影响"),
    (FILMS, "霸王别姬获得了哪些国际奖项"),
    (FILMS, "活着的票房是多少"),
    (COMPANIES, "晨光科技员工请年假需要提前几天申请？"),
    (COMPANIES, "远海集团的差旅报销标准是怎么规定的"),
    (COMPANIES, "董事长缺席时由谁主持远海集团的股东大会？"),
    (COMPANIES, "王海的妻子是谁"),
    (COMPANIES, "在上海办公的员工如何申请居住证"),
    (LAW, "中华人民共和国劳动合同法规定的试用期最长是多久？"),
    (LAW, "试用期的工资不得低于多少"),
    (LAW, "用人单位在试用期解除劳动合同需要提前几日通知"),
    (LAW, "非全日制用工可以约定试用期吗"),
    (LAW, "中华人民共和国劳动合同法第十九条规定了什么内容"),
    (HOSPITAL, "偏头痛患者平时在饮食上应当注意什么"),
    (HOSPITAL, "孕妇可以服用布洛芬吗"),
    (ENGLISH, "How many employees does Globex have?"),
    (ENGLISH, "Why did William Shakespeare leave Stratford-upon-Avon for London?"),
    (ENGLISH, "What happens to Ophelia at the end of Hamlet?"),
    (ENGLISH, "Who wrote Titanic?"),
)  # fmt: skip


@pytest.mark.parametrize(("rows", "question"), LEFT_ALONE, ids=[one[1] for one in LEFT_ALONE])
def test_what_the_graph_does_not_know_it_is_not_sure_of(rows: Rows, question: str) -> None:
    answer = answerer(rows).answer(question)
    assert answer.confidence < 0.5
    assert answer.values or (answer.score, answer.confidence, answer.kind) == (0.0, 0.0, "")


COUNTED = (
    (BOOKS, "鲁迅写了几本书？", "3"),
    (BOOKS, "鲁迅有几个妻子", "2"),
    (BOOKS, "红楼梦有多少个主要人物", "3"),
    (FILMS, "巩俐一共主演了多少部电影", "3"),
    (COMPANIES, "晨光科技有多少家子公司", "2"),
    (COMPANIES, "总部在上海的公司有几家", "2"),
    (ENGLISH, "How many films did Christopher Nolan direct?", "2"),
    (ENGLISH, "How many companies are headquartered in Boston?", "2"),
)  # fmt: skip


@pytest.mark.parametrize(("rows", "question", "number"), COUNTED, ids=[one[1] for one in COUNTED])
def test_things_are_counted(rows: Rows, question: str, number: str) -> None:
    answer = answerer(rows).answer(question)
    assert (answer.values, answer.kind, answer.counted) == ((number,), "count", True)
    assert len(answer.steps) == int(number) and answer.confidence >= SURE


COMPARED = (
    (BOOKS, "鲁迅和周作人谁年龄更大", {"鲁迅"}, None),
    (BOOKS, "鲁迅和周作人谁出生得更早？", {"鲁迅"}, None),
    (BOOKS, "呐喊和彷徨哪个出版更晚", {"彷徨"}, None),
    (BOOKS, "呐喊比彷徨出版得早吗", {"呐喊"}, True),
    (FILMS, "巩俐和葛优谁更高？", {"葛优"}, None),
    (FILMS, "巩俐比葛优高吗", {"葛优"}, False),
    (FILMS, "霸王别姬和活着哪个上映更早", {"霸王别姬"}, None),
    (FILMS, "霸王别姬和大红灯笼高高挂哪部电影更长", {"霸王别姬"}, None),
    (FILMS, "葛优和巩俐的国籍一样吗", {"中国", "新加坡"}, False),
    (COMPANIES, "晨光科技和远海集团哪家成立更早", {"远海集团"}, None),
    (COMPANIES, "晨光科技和远海集团谁的注册资本更多", {"晨光科技"}, None),
    (COMPANIES, "王海和赵宁的毕业院校是同一个吗", {"大连海事大学"}, True),
    (ENGLISH, "Which is older, Acme Corporation or Globex?", {"Acme Corporation"}, None),
    (ENGLISH, "Which city has a larger population, Paris or Lyon?", {"Paris"}, None),
)  # fmt: skip


@pytest.mark.parametrize(("rows", "question", "values", "truth"), COMPARED, ids=[one[1] for one in COMPARED])
def test_things_are_compared(rows: Rows, question: str, values: set[str], truth: bool | None) -> None:
    answer = answerer(rows).answer(question)
    assert (set(answer.values), answer.kind, answer.truth) == (values, "compare", truth)
    assert len(answer.steps) >= 2 and answer.confidence >= SURE


WAYS = (
    (BOOKS, "鲁迅和许广平是什么关系？", ("鲁迅", "许广平"), "妻子"),
    (BOOKS, "许广平是鲁迅的什么人", ("许广平", "鲁迅"), "妻子"),
    (BOOKS, "朱安与周海婴之间有什么关系", ("朱安", "鲁迅", "周海婴"), "妻子 > 父亲"),
    (FILMS, "张国荣和张艺谋有什么联系", ("张国荣", "霸王别姬", "巩俐"), None),
    (ENGLISH, "How is Acme Corporation related to Stanford University?", ("Acme Corporation", "Jane Miller", "Stanford University"), "founder > alma_mater"),
    (ENGLISH, "What is the relationship between Inception and Titanic?", ("Inception", "Leonardo DiCaprio", "Titanic"), "starring"),
)  # fmt: skip


@pytest.mark.parametrize(("rows", "question", "names", "labels"), WAYS, ids=[one[1] for one in WAYS])
def test_ways_between_two_are_found(rows: Rows, question: str, names: tuple[str, ...], labels: str | None) -> None:
    answer = answerer(rows).answer(question)
    assert answer.kind == "path" and answer.values[: len(names)] == names and answer.confidence >= SURE
    assert labels is None or answer.relation == labels
    view = answerer(rows).view
    at = answer.values[0]
    for edge in answer.steps:
        ends = {view.names[view.heads[edge.triple]], view.names[view.tails[edge.triple]]}
        assert at in ends
        at = view.names[edge.other]


def test_no_way_is_no_answer() -> None:
    answer = answerer(BOOKS).answer("红楼梦和围城有什么关系？")
    assert (answer.values, answer.steps, answer.score, answer.confidence, answer.kind) == ((), (), 0.0, 0.0, "")


TRUTHS = (
    (BOOKS, "红楼梦的作者是曹雪芹吗？", True),
    (BOOKS, "红楼梦的作者是鲁迅吗？", False),
    (BOOKS, "红楼梦是不是曹雪芹写的", True),
    (BOOKS, "鲁迅的妻子是不是许广平", True),
    (COMPANIES, "王海是远海集团的董事长吗", True),
    (COMPANIES, "赵宁是远海集团的董事长吗", False),
    (ENGLISH, "Did William Shakespeare write Hamlet?", True),
    (ENGLISH, "Is Paris the capital of France?", True),
    (ENGLISH, "Is Lyon the capital of France?", False),
)  # fmt: skip


@pytest.mark.parametrize(("rows", "question", "truth"), TRUTHS, ids=[one[1] for one in TRUTHS])
def test_yes_and_no(rows: Rows, question: str, truth: bool) -> None:
    answer = answerer(rows).answer(question)
    assert answer.truth is truth and answer.steps and answer.confidence >= SURE


JOINT = (
    (FILMS, "张艺谋导演、巩俐主演的电影有哪些", {"活着", "大红灯笼高高挂"}),
    (FILMS, "张国荣和巩俐都主演过的电影是哪部", {"霸王别姬"}),
    (COMPANIES, "所属行业是航运、总部在上海的公司有哪些", {"远海集团", "蓝鲸航运"}),
    (ENGLISH, "Which actor starred in both Inception and Titanic?", {"Leonardo DiCaprio"}),
)  # fmt: skip


@pytest.mark.parametrize(("rows", "question", "values"), JOINT, ids=[one[1] for one in JOINT])
def test_what_holds_of_two_at_once(rows: Rows, question: str, values: set[str]) -> None:
    answer = answerer(rows).answer(question)
    assert set(answer.values) == values and len(answer.steps) == 2 * len(values) and answer.confidence >= SURE
