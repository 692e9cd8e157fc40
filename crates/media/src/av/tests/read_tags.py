"""Prints what mutagen reads of a file: a line for each tag, chapter and picture.

    python read_tags.py FORMAT FILE
"""

import base64
import hashlib
import sys

from mutagen.flac import FLAC, Picture
from mutagen.id3 import ID3
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

ID3_NAMES = {"title": "TIT2", "artist": "TPE1", "album": "TALB", "date": "TDRC", "language": "TLAN"}


def picture(kind, mime, data, shape=""):
    return f"picture {kind} {mime} {hashlib.sha256(data).hexdigest()[:16]}{shape}"


def of_id3(tags):
    for name, frame in ID3_NAMES.items():
        if frame in tags:
            yield f"{name}={tags[frame]}"
    for comment in tags.getall("COMM"):
        yield f"comment={comment}"
    chapters = sorted(tags.getall("CHAP"), key=lambda chapter: chapter.start_time)
    for chapter in chapters:
        title = chapter.sub_frames.get("TIT2", "")
        yield f"chapter {chapter.start_time}-{chapter.end_time} {title}"
    listed = [name for toc in tags.getall("CTOC") for name in toc.child_element_ids]
    assert listed == [chapter.element_id for chapter in chapters], listed
    for cover in tags.getall("APIC"):
        yield picture(int(cover.type), cover.mime, cover.data)


def millis(clock):
    hours, minutes, seconds = clock.split(":")
    return round((int(hours) * 60 + int(minutes)) * 60000 + float(seconds) * 1000)


def of_comments(tags, pictures):
    for name in [*ID3_NAMES, "description"]:
        for text in tags.get(name, []):
            yield f"{'comment' if name == 'description' else name}={text}"
    for number in range(1, 1000):
        start = tags.get(f"chapter{number:03}")
        if start is None:
            break
        yield f"chapter {millis(start[0])} {tags[f'chapter{number:03}name'][0]}"
    for cover in pictures:
        yield picture(cover.type, cover.mime, cover.data, f" {cover.width}x{cover.height}x{cover.depth}")


def lines(form, path):
    if form in ("mp3", "aac"):
        return of_id3(ID3(path))
    if form == "wav":
        return of_id3(WAVE(path).tags)
    if form == "flac":
        file = FLAC(path)
        return of_comments(file.tags, file.pictures)
    file = (OggOpus if form == "opus" else OggVorbis)(path)
    blocks = file.tags.get("metadata_block_picture", [])
    return of_comments(file.tags, [Picture(base64.b64decode(block)) for block in blocks])


print("\n".join(lines(*sys.argv[1:])))
