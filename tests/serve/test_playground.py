"""The playground in a browser, on a served model."""

import json
import re

import httpx2

from workbench_page import chromium, page_at, picture, wide


def write(page, text):
    page.fill("#play-text", text)
    page.click("button.primary")
    page.locator("[role=status]").get_by_text("ended by").wait_for()


def test_tokens_come_coloured_with_what_stood_beside_them(whole):
    asked = {"prompt": "3+4=", "max_tokens": 24, "seed": 3, "logprobs": 8, "return_entropies": True}
    found = httpx2.post(f"{whole.address}/v1/completions", json=asked, timeout=60).json()["choices"][0]
    with chromium() as browser:
        for width, scheme in ((1200, "light"), (390, "dark")):
            with page_at(browser, f"{whole.address}/", width, scheme) as page:
                page.fill("#play-max_tokens", "24")
                page.fill("#play-seed", "3")
                write(page, "3+4=")
                tokens = page.locator(".token")
                assert tokens.count() == len(found["entropies"])
                status = page.locator("[role=status]").inner_text()
                mean = sum(found["entropies"]) / len(found["entropies"])
                assert abs(float(re.search(r"mean entropy ([\d.]+)", status)[1]) - mean) < 1e-3
                heats = tokens.evaluate_all("(all) => all.map((one) => one.style.getPropertyValue('--heat'))")
                assert heats == [f"{round(min(1, e / 3) * 70)}%" for e in found["entropies"]]
                tokens.nth(2).hover()
                assert page.locator(".detail tbody tr").count() >= 8
                page.mouse.move(0, 0)
                page.locator(".said").focus()
                page.keyboard.press("ArrowRight")
                assert page.locator(".token.selected").get_attribute("data-place") == "3"
                assert page.locator(".detail p").inner_text().startswith("token 4: probability ")
                assert not wide(page)
                picture(page, f"playground-{scheme}")


def test_a_chat_goes_on_and_hostile_text_stays_text(whole):
    hostile = "<img src=x onerror=alert(1)>\u202e\u0007"
    with chromium() as browser, page_at(browser, f"{whole.address}/page#/playground") as page:
        page.select_option("#play-mode", "chat")
        page.fill("#play-max_tokens", "12")
        write(page, hostile)
        assert page.locator("img").count() == 0
        assert "⟨U+202E⟩" in page.locator(".given").inner_text()
        with page.expect_request("**/v1/chat/completions") as second:
            write(page, "and then?")
        messages = json.loads(second.value.post_data)["messages"]
        assert [one["role"] for one in messages] == ["user", "assistant", "user"]
        assert messages[0]["content"] == hostile
        picture(page, "playground-chat")
