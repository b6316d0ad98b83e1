from __future__ import annotations

import base64

from heatbeam.pages import map_images, report_text


def test_a_picture_that_reads_like_a_secret_is_shown_whole():
    uri = map_images.picture_uri("png", base64.b64decode("AKIAABCDEFGHIJKLMNOP"))
    assert report_text.without_secrets(uri) == "data:image/png;base64,AKIAABCDEFGHIJKLMNOP"
