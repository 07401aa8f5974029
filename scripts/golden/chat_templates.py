"""Writes tests/golden/chat_templates/*.json: many small templates over every feature of Jinja that chat templates use,
each with the text, or the error, that Jinja gives in transformers' environment.

Made with transformers 5.24, jinja2 3.1.6, markupsafe 3.0, Python 3.11 (PYTHONHASHSEED does not matter).
Usage: TZ=UTC python scripts/golden/chat_templates.py tests/golden/chat_templates
"""
import datetime
import json
import os
import sys

import transformers.utils.chat_template_utils as utils
from chat_template_cases import GROUPS, V

NOW = 1753700000


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(NOW)


utils.datetime = FixedTime


def render(template, variables):
    """What apply_chat_template does without a tokenizer."""
    variables = dict(variables)
    try:
        if "messages" in variables:
            messages = [{k: v for k, v in m.items() if v is not None} for m in variables.pop("messages")]
            tools, documents = variables.pop("tools", None), variables.pop("documents", None)
            (text,), _ = utils.render_jinja_template([messages], tools, documents, template, **variables)
        else:
            compiled = utils._compile_jinja_template(template)
            defaults = {"tools": None, "documents": None, "add_generation_prompt": False}
            text = compiled.render(**{**defaults, **variables})
        return {"text": text}
    except Exception as e:  # noqa: BLE001 - any error is a result
        out = {"error": f"{type(e).__name__}: {e}"}
        if type(e).__name__ == "TemplateError":
            out["raised"] = str(e)
        return out


def main(folder):
    os.makedirs(folder, exist_ok=True)
    for name, cases in GROUPS.items():
        done = []
        for template, *variables in cases:
            variables = variables[0] if variables else {}
            done.append({"template": template, "variables": "V" if variables is V else variables, **render(template, variables)})
        with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as out:
            head = {"made_with": "transformers 5.24, jinja2 3.1.6", "variables": {"V": V}}
            out.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "cases": [\n')
            out.write(",\n".join(json.dumps(c, ensure_ascii=False) for c in done) + "\n]}\n")
        errors = [c for c in done if "error" in c]
        print(name, len(done), "cases,", len(errors), "errors")
        if os.environ.get("SHOW_ERRORS"):
            for c in errors:
                print("   ", c["template"], "->", c["error"])


if __name__ == "__main__":
    main(sys.argv[1])
