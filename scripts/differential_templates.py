"""Renders every .jinja file of a folder with many conversations, by transformers' renderer and by Caravan, and counts
equal texts and equal errors (messages of raise_exception compared word for word, other errors as errors).

Usage: python scripts/differential_templates.py FOLDER build/release/bin/caravan_differential
"""
import collections
import glob
import json
import os
import subprocess
import sys
import tempfile

os.environ["TZ"] = "UTC"
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "golden"))
from chat_templates import render  # noqa: E402

TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather of a <city> & more", "parameters": {
        "type": "object", "properties": {
            "city": {"type": "string", "description": "The city's \"name\"", "enum": ["Rom", "Köln"]},
            "days": {"type": ["integer", "null"], "minimum": 1, "default": 3},
            "opts": {"type": "object", "properties": {"deep": {"type": "array", "items": {"type": "number"}}}, "additionalProperties": False},
            "any": {"anyOf": [{"type": "string"}, {"type": "boolean"}]}}, "required": ["city"]},
        "return": {"type": "object", "description": "result"}}},
    {"type": "function", "function": {"name": "nop", "description": "Nothing", "parameters": {"type": "object", "properties": {}}}},
]
BARE_TOOL = [{"name": "get_weather", "description": "Weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]


def call(arguments, name="get_weather", id="call_1"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


U, S = {"role": "user", "content": "Hello, how are you?"}, {"role": "system", "content": "You are helpful.\n\nBe brief."}
A = {"role": "assistant", "content": "Fine, thanks!"}
U2 = {"role": "user", "content": "  Grüße 😀 <b>&\"'</b>\n\ttab </think> {{ x }} "}
TOOL = {"role": "tool", "content": "{\"temp\": 20.5}", "name": "get_weather", "tool_call_id": "call_1"}
CALL_DICT = {"role": "assistant", "content": "", "tool_calls": [call({"city": "Köln", "days": 2, "opts": {"deep": [1.0, 2e-7, 1e20]}, "flag": True, "none": None})]}
CALL_STR = {"role": "assistant", "content": "", "tool_calls": [call("{\"city\": \"Köln\"}")]}
CALL_NONE = {"role": "assistant", "content": None, "tool_calls": [call({"city": "Rom"}, id="abcdefghi"), call({}, "nop", "123456789")]}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image"}, {"type": "image_url", "image_url": {"url": "http://x/y.png"}}, {"type": "text", "text": " here."}]}
CONVERSATIONS = {
    "user": [U], "system": [S, U], "turns": [U, A, U2], "system_turns": [S, U, A, U2], "ends_assistant": [S, U, A],
    "two_users": [U, U2], "two_assistants": [U, A, A], "starts_assistant": [A, U], "only_system": [S], "late_system": [U, A, S, U],
    "two_systems": [S, S, U], "empty_content": [{"role": "user", "content": ""}], "empty_system": [{"role": "system", "content": ""}, U],
    "unicode": [U2], "developer": [{"role": "developer", "content": "Dev."}, U], "unknown_role": [U, {"role": "critic", "content": "x"}],
    "no_content": [{"role": "user"}], "null_content": [{"role": "user", "content": None}], "number_content": [{"role": "user", "content": 5}],
    "call_dict": [U, CALL_DICT, TOOL, A], "call_str": [U, CALL_STR, TOOL, A, U], "call_none": [S, U, CALL_NONE, dict(TOOL, tool_call_id="abcdefghi"), dict(TOOL, tool_call_id="123456789"), U2],
    "call_pending": [S, U, CALL_DICT], "tool_last": [U, CALL_DICT, TOOL], "call_text": [U, dict(CALL_STR, content="Let me see."), TOOL],
    "call_bare": [U, {"role": "assistant", "tool_calls": [{"name": "nop", "arguments": {}}]}, {"role": "tool", "content": "ok"}],
    "tool_parts": [U, CALL_DICT, {"role": "tool", "content": [{"type": "text", "text": "ok"}], "tool_call_id": "call_1"}, A],
    "tool_json": [U, CALL_DICT, {"role": "tool", "content": {"a": [1, None, True]}, "tool_call_id": "call_1"}],
    "tool_alone": [TOOL], "ipython": [U, CALL_DICT, {"role": "ipython", "content": "out"}],
    "reasoning": [U, dict(A, reasoning_content="I think\nso."), U2], "reasoning_last": [U, dict(A, reasoning_content="I think.")],
    "thinking": [U, dict(A, thinking="Hm."), U], "reasoning_call": [U, dict(CALL_DICT, reasoning_content="Need it."), TOOL],
    "think_inline": [U, dict(A, content="<think>\nabc\n</think>\n\nFine."), U], "think_many": [U, dict(A, content="a</think>b</think> c"), U, A, U2],
    "parts": [PARTS], "parts_system": [{"role": "system", "content": [{"type": "text", "text": "Sys"}]}, PARTS, dict(A, content=[{"type": "text", "text": "Ok."}]), U],
    "parts_video": [{"role": "user", "content": [{"type": "video"}, {"type": "audio", "audio": "x"}, {"type": "text", "text": "t"}]}],
    "long": [S] + [U, A] * 6 + [U2], "no_calls": [U, dict(A, tool_calls=[]), U2], "null_calls": [U, dict(A, tool_calls=None, reasoning_content=None)], "empty_parts": [{"role": "user", "content": []}, A], "text_parts": [{"role": "user", "content": ["plain", {"type": "text", "text": ""}]}],
    "null_part": [{"role": "user", "content": [{"type": "text", "text": None}]}], "untyped_part": [{"role": "user", "content": [{"text": "a"}, {"image": "x"}, {"image_url": "http://a"}, {"video": ["f1"]}]}],
    "specials": [{"role": "user", "content": "<|im_end|>\n<|eot_id|></s>[INST] {{ bos_token }} {% if %} <|tool_call_begin|>"}, {"role": "assistant", "content": "<think></think>\n\n<tool_call>{\"a\": 1}</tool_call>"}, U],
    "odd_unicode": [{"role": "user", "content": "\u0000\u001b\u200d\ufeff\u2028\u0085 e\u0301 \U0001f468\u200d\U0001f469 \u05d0\u0627 ﷺ \ufffd İıſ"}, dict(A, content=" \n\t ")],
    "many_calls": [U, {"role": "assistant", "content": "Two.", "tool_calls": [call({"a": [], "b": {}, "c": [{"d": [None, -0.0, 1e-9, 12345678901234567890]}], "e": "<\u2028&>\"'\\"}, id="a" * 9), call({"x": "é\n\t{}"}, "nop", "b" * 9)]}, dict(TOOL, tool_call_id="a" * 9, content=""), dict(TOOL, tool_call_id="b" * 9, content="None"), A, U],
    "call_reasoning": [S, U, dict(CALL_NONE, reasoning_content="Because.\n"), TOOL, TOOL, dict(A, reasoning_content=""), U2], "call_no_arguments": [U, {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "nop"}}]}],
    "call_null_arguments": [U, {"role": "assistant", "content": "", "tool_calls": [call(None)]}, TOOL], "call_list_arguments": [U, {"role": "assistant", "content": "", "tool_calls": [call([1, "a"])]}, TOOL], "number_role": [{"role": 5, "content": "x"}], "no_role": [{"content": "x"}],
    "bool_content": [{"role": "user", "content": True}, A], "dict_content": [{"role": "user", "content": {"text": "x"}}], "tool_name": [U, CALL_STR, {"role": "tool", "name": "get_weather", "content": "a"}, {"role": "function", "name": "f", "content": "b"}],
    "prefix": [U, {"role": "assistant", "content": "Sure: ", "prefix": True}], "thinking_parts": [U, {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Ok."}]}, U],
    "name": [dict(U, name="Bob"), A], "extra": [dict(U, weight=1, tags=["a"], citations=None), dict(A, prefix=True)],
}
OPTIONS = {
    "plain": {}, "generate": {"add_generation_prompt": True}, "tools": {"tools": TOOLS, "add_generation_prompt": True}, "bare_tools": {"tools": BARE_TOOL},
    "no_think": {"enable_thinking": False, "add_generation_prompt": True}, "think": {"enable_thinking": True, "thinking": True, "add_generation_prompt": True, "tools": TOOLS},
    "documents": {"documents": [{"title": "T", "text": "Body é"}, {"title": "U", "text": "More"}], "add_generation_prompt": True},
    "effort": {"reasoning_effort": "high", "add_generation_prompt": True, "builtin_tools": ["browser", "python"], "model_identity": "Me."},
    "tools_in_user": {"tools": TOOLS, "tools_in_user_message": False, "date_string": "01 Jan 2025", "add_generation_prompt": True, "keep_thinking": True, "preserve_thinking": True, "clear_thinking": False},
    "empty_tools": {"tools": [], "add_generation_prompt": True},
    "continue": {"continue_final_message": True}, "continue_reasoning": {"continue_final_message": "reasoning_content"},
}
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def main(folder, binary):
    cases, expected = [], []
    for path in sorted(glob.glob(os.path.join(folder, "**", "*.jinja"), recursive=True)):
        source = open(path, encoding="utf-8").read()
        for cname, messages in CONVERSATIONS.items():
            for oname, options in OPTIONS.items():
                for special in (SPECIAL, {}) if oname == "generate" else (SPECIAL,):
                    variables = {"messages": messages, **special, **options}
                    cases.append((os.path.basename(path), cname, oname, {"template": source, "variables": variables}))
                    expected.append(render(source, {**variables, "add_generation_prompt": options.get("add_generation_prompt", False)}))
    with tempfile.TemporaryDirectory() as tmp:
        name = os.path.join(tmp, "cases")
        with open(name, "w", encoding="utf-8") as out:
            out.writelines(json.dumps(c[3], ensure_ascii=False) + "\n" for c in cases)
        subprocess.run([binary, "templates", name], check=True)
        got = [json.loads(line) for line in open(name + ".out", encoding="utf-8")]
    tally, wrong, bad_templates = collections.Counter(), [], set()
    for case, want, have in zip(cases, expected, got):
        if "text" in want:
            same = have.get("text") == want["text"]
        else:
            same = "error" in have and ("raised" not in want or have["error"] == want["raised"])
        tally[("text" if "text" in want else "error") + (" equal" if same else " DIFFERENT")] += 1
        if not same:
            bad_templates.add(case[0])
            wrong.append((case[:3], want, have))
    for case, want, have in wrong[: int(os.environ.get("SHOW", "10"))]:
        print(*case, "\n  want", json.dumps(want, ensure_ascii=False)[:600], "\n  have", json.dumps(have, ensure_ascii=False)[:600])
    templates = {c[0] for c in cases}
    print(f"{len(templates) - len(bad_templates)} of {len(templates)} templates equal on all conversations;", dict(tally))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
