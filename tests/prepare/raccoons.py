"""Photos with boxes that lie beside the repository, annotated as Pascal VOC and as COCO."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from tests.support import paths

FOLDER = paths.ROOT.parent / "shared" / "raccoons"


def as_coco() -> dict[str, Any]:
    """COCO's document: of Pascal VOC's corners, which count from 1, the last pixel is part of the box."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, path in enumerate(sorted((FOLDER / "annotations").glob("*.xml"))):
        tree = ElementTree.parse(path)
        size = {side: int(tree.findtext(f"size/{side}", "")) for side in ("width", "height")}
        images.append({"id": 10 * number, "file_name": f"images/{tree.findtext('filename')}", **size})
        for one in tree.findall("object/bndbox"):
            x0, y0, x1, y1 = (int(one.findtext(side, "")) for side in ("xmin", "ymin", "xmax", "ymax"))
            box = [x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1]
            annotations.append({"image_id": 10 * number, "category_id": 5, "bbox": box})
    return {"images": images, "annotations": annotations, "categories": [{"id": 5, "name": "raccoon"}]}
