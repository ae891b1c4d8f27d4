"""What the team itself says to the lead, in the task's language.

Models write plans and reports; these few sentences are ours, so that a question never depends on a model's mood.
"""

from __future__ import annotations

_PHRASES: dict[str, dict[str, str]] = {
    "guard": {
        "en": "The guardrail asks before anything is done: {reasons}. Go on with this task?",
        "ko": "가드레일이 시작하기 전에 확인을 요청합니다: {reasons}. 이 작업을 계속할까요?",
        "zh": "护栏要求在开始之前确认：{reasons}。要继续这个任务吗？",
    },
    "route": {
        "en": "The router cannot decide ({reason}). How should this task be treated?",
        "ko": "라우터가 결정하지 못했습니다({reason}). 이 작업을 어떻게 처리할까요?",
        "zh": "路由器无法决定（{reason}）。这个任务应该如何处理？",
    },
    "plan": {
        "en": "Is this plan right? {question}",
        "ko": "이 계획이 맞습니까? {question}",
        "zh": "这个计划对吗？{question}",
    },
    "plan.checklist": {
        "en": "This is the plan. Approve it to answer its checklist and have it written down; or say what to change.",
        "ko": "계획입니다. 승인하면 점검 목록에 답한 뒤 문서로 남깁니다. 바꿀 점이 있으면 말해 주세요.",
        "zh": "这是计划。批准后可回答检查清单并写成文档；或者说明需要修改什么。",
    },
    "prepare": {
        "en": "The tests need packages named in {files}. May the worker install them from the package registries?",
        "ko": "테스트에 {files}에 적힌 패키지가 필요합니다. 워커가 패키지 저장소에서 설치해도 될까요?",
        "zh": "测试需要 {files} 中列出的软件包。允许工作机从软件包仓库安装吗？",
    },
    "dispute": {
        "en": "The coder says a test is wrong, and the tester stands by it: {dispute} Who is right?",
        "ko": "코더는 테스트가 잘못되었다고 하고, 테스터는 유지합니다: {dispute} 누가 맞습니까?",
        "zh": "编码者认为测试有误，而测试者坚持：{dispute} 谁是对的？",
    },
    "approve": {
        "en": "Red on the base, green on the head. Merge this change into {branch}?",
        "ko": "기준 커밋에서는 실패하고 변경 후에는 통과합니다. 이 변경을 {branch}에 병합할까요?",
        "zh": "在基线上失败，在改动后通过。要把这个改动合并到 {branch} 吗？",
    },
    "approve.docs": {
        "en": "This changes documentation only, and no test proves it. Merge it into {branch}?",
        "ko": "문서만 바뀌었고, 이를 증명하는 테스트는 없습니다. {branch}에 병합할까요?",
        "zh": "这只改动了文档，没有测试可以证明。要合并到 {branch} 吗？",
    },
    "approve.override": {
        "en": "NOT PROVEN. You want it all the same, because: {words} Merge it into {branch} without a proof?",
        "ko": "증명되지 않았습니다. 그래도 원하는 이유: {words} 증명 없이 {branch}에 병합할까요?",
        "zh": "未经证明。你仍要合并，理由是：{words} 要在没有证明的情况下合并到 {branch} 吗？",
    },
    "rounds": {
        "en": "Rounds spent ({rounds}), and it is not green: {why}. Try further?",
        "ko": "라운드를 모두 사용했지만({rounds}) 통과하지 못했습니다: {why}. 더 시도할까요?",
        "zh": "轮次已用完（{rounds}），但仍未通过：{why}。要继续尝试吗？",
    },
}


def phrase(key: str, language: str, **values: object) -> str:
    """Return a sentence in `language`, or in English where we do not speak it."""
    versions = _PHRASES[key]
    return versions.get(language, versions["en"]).format(**values).strip()
