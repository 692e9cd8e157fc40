#!/usr/bin/env python3
"""The whole service in a minute: a video's address in, its audio and a signed webhook out.

    demo/demo.py PATH/TO/audio-extract

Everything is real: the service on a free port with its embedded database, a video with picture, music and speech, a
host that serves it, a receiver that verifies the webhook. Everything that is started here is stopped here, also on
Ctrl-C; only ./demo-output stays. Needs curl, ffmpeg and espeak-ng, and nothing of Python but its standard library.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from stage import DemoFailed, Teller, VideoHost, Witness, run, serve, start, until

OUTPUT = Path("demo-output")
START_SECS = 30
JOB_SECS = 180
WEBHOOK_SECS = 30

SPEECH = """
Hello. This voice is inside a video, behind a picture that nobody will look at, and it would like to get out.
In a moment, a service that was written in Rust will be given the address of this video. It will open the file in a
small process that can reach neither the network nor the disk, find the audio, measure how loud it is, and write it
again, a little louder, as an M P 3. Then it will sign a message, to say that it is done. If you can hear this in a
player now, all of that has happened, and every byte that you hear was there in the video. Thank you for listening.
"""
# Four chords, picked in quarters of a second: A minor, F, C, G.
MUSIC = (
    "st(0,mod(floor(t/4),4));st(1,mod(floor(t*4),4));st(2,mod(t,0.25));"
    "st(3,if(eq(ld(0),0),0,if(eq(ld(0),1),-4,if(eq(ld(0),2),3,-2))));"
    "st(4,if(eq(ld(1),0),0,if(eq(ld(1),1),if(eq(ld(0),0),3,4),if(eq(ld(1),2),7,12))));"
    "0.16*sin(2*PI*ld(2)*220*pow(2,(ld(3)+ld(4))/12))*min(1,200*ld(2))*exp(-6*ld(2))*min(1,40*(0.25-ld(2)))"
)


class Scene(NamedTuple):
    """What is there once everything runs."""

    video: Path
    seconds: float
    source: str
    counts: type[VideoHost]
    url: str
    key: dict
    receiver: str
    witness: type[Witness]
    heard: list[str]


def megabytes(size):
    return f"{size / 1e6:.1f} MB"


def api(*arguments):
    """Calls the API with curl and opens its envelope."""
    answer = json.loads(run(["curl", "-sS", *arguments]))
    if not answer.get("success"):
        raise DemoFailed(f"the API said {json.dumps(answer.get('error', answer))}")
    return answer["data"]


def make_video(path, scratch):
    """45 s of picture, music and speech, as a phone or an editor would leave it: H.264 and AAC in MP4."""
    speech = scratch / "speech.wav"
    run(["espeak-ng", "-v", "en-us", "-s", "150", "-w", speech, " ".join(SPEECH.split())])
    sound = (
        "[1:a]aecho=0.8:0.6:375|750:0.3|0.15,volume=0.5[music];"
        "[2:a]adelay=3000:all=1,aresample=44100[speech];"
        "[music][speech]amix=inputs=2:duration=first:normalize=0,asplit[heard][drawn];"
        "[drawn]showwaves=s=640x180:mode=cline:rate=20:colors=white[waves];"
        "[0:v][waves]overlay=y=90:format=auto[seen]"
    )
    run([
        "ffmpeg", "-nostdin", "-v", "error", "-y",
        "-f", "lavfi", "-i", "gradients=s=640x360:rate=20:speed=0.01:c0=0x1d3557:c1=0xe76f51",
        "-f", "lavfi", "-i", f"aevalsrc='{MUSIC}':s=44100:c=mono",
        "-i", speech,
        "-filter_complex", sound, "-map", "[seen]", "-map", "[heard]", "-t", "45",
        "-c:v", "libx264", "-preset", "ultrafast", "-crf", "18", "-pix_fmt", "yuv420p",
        "-c:a", "aac", "-b:a", "128k", "-ac", "2", "-movflags", "+faststart", path,
    ])  # fmt: skip


def start_service(stack, binary, scratch, environment, log):
    """Starts the service and returns its address and its first API key."""
    with log.open("wb") as sink:
        service = start(stack, [binary, "serve"], env=environment, stdout=sink, stderr=sink)

    def address():
        if service.poll() is not None:
            raise DemoFailed(f"the service ended at once, with exit code {service.returncode}")
        return re.search(r"listening.*?(127\.0\.0\.1:\d+)", log.read_text(errors="replace"))

    url = f"http://{until('the start of the service', START_SECS, address)[1]}"
    key = json.loads((scratch / "data" / "first-key.json").read_text())
    return url, key


def start_listener(stack, binary, environment, secret):
    """Starts the receiver that comes with the service; returns its address and the lines that it prints."""
    command = [binary, "webhooks", "listen", "--port", "0", "--secret", secret]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    listener = start(stack, command, env=environment, **pipe)
    lines = []
    threading.Thread(target=lambda: lines.extend(listener.stdout), daemon=True).start()

    def address():
        if listener.poll() is not None:
            raise DemoFailed(f"the listener ended at once: {''.join(lines).strip()}")
        return re.search(r"http://127\.0\.0\.1:\d+", "".join(lines))

    url = until("the start of the listener", START_SECS, address)[0]
    lines.clear()
    return f"{url}/webhook", lines


def follow(teller, url, key, job):
    """Shows the job's progress until it ends, and returns its last status."""

    def ended():
        status = api(f"{url}/audio-extract/v1/status/{job}", "-H", f"X-API-Key: {key}")
        teller.progress(status["progress"], status.get("currentStep") or status["status"])
        return status if status["status"] in ("completed", "failed") else None

    try:
        status = until("the end of the job", JOB_SECS, ended)
    finally:
        teller.progress_done()
    if status["status"] == "failed":
        raise DemoFailed(f"the job failed: {json.dumps(status['error'])}")
    return status


def verify(headers, body, secret):
    """Standard Webhooks 1.0.0 with nothing but the standard library: this is all that a receiver has to do."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    wanted = "v1," + base64.b64encode(mac).decode()
    if not any(hmac.compare_digest(wanted, given) for given in headers["webhook-signature"].split()):
        raise DemoFailed("the webhook's signature is wrong")
    if abs(time.time() - int(headers["webhook-timestamp"])) > 300:
        raise DemoFailed("the webhook's timestamp is not of today")


def probe(path):
    """What ffprobe says of a file: codec, sample rate, channels, seconds."""
    shown = json.loads(run(["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", path]))
    audio = next(stream for stream in shown["streams"] if stream["codec_type"] == "audio")
    return f"{audio['codec_name']}, {audio['sample_rate']} Hz, {audio['channels']} channels", float(
        shown["format"]["duration"]
    )


def raise_curtain(stack, teller, binary, scratch, log):
    """Makes and serves the video, starts service and receivers; returns what the play needs."""
    # Nothing that the user set for a service of their own may change what happens here.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIO_EXTRACT_")}

    teller.step("Make a video")
    video = OUTPUT / "video.mp4"
    OUTPUT.mkdir(exist_ok=True)
    make_video(video, scratch)
    seconds = probe(video)[1]
    host, counts = serve(stack, VideoHost, file=video)
    teller.good(f"{video}: {seconds:.1f} s of picture, music and speech, {megabytes(video.stat().st_size)}")
    teller.say(f"served at {host}/video.mp4")

    teller.step("Start the service")
    teller.command("AUDIO_EXTRACT_ALLOW_NETWORKS=127.0.0.0/8 audio-extract serve")
    service = environment | {
        "AUDIO_EXTRACT_LISTEN": "127.0.0.1:0",
        "AUDIO_EXTRACT_DATA_DIR": str(scratch / "data"),
        "AUDIO_EXTRACT_ALLOW_NETWORKS": "127.0.0.0/8",
        # The folder for temporary files is often a small one, and this job needs little.
        "AUDIO_EXTRACT_MIN_FREE_BYTES": "50MB",
    }
    url, key = start_service(stack, binary, scratch, service, log)
    teller.good(f"listening on {url}, with SQLite and a folder, and its first API key made")

    teller.step("Listen for its webhooks")
    teller.command("audio-extract webhooks listen --secret whsec_…")
    listener, heard = start_listener(stack, binary, environment, key["webhookSecret"])
    receiver, witness = serve(stack, Witness, listener=listener, seen=[], arrived=threading.Event())
    teller.good(f"listening on {receiver}/webhook")
    return Scene(video, seconds, f"{host}/video.mp4", counts, url, key, f"{receiver}/webhook", witness, heard)


def submit(teller, scene):
    """Sends the order and watches the job until it is done; returns its last status."""
    teller.step("Submit the video")
    order = {
        "source": {"type": "url", "url": scene.source},
        "output": {"format": "mp3", "quality": "high", "normalize": True},
        "options": {"filename": "talk", "webhook": scene.receiver},
    }
    address, json_type = f"{scene.url}/audio-extract/v1/extract", "Content-Type: application/json"
    parts = ",\n      ".join(f"{json.dumps(name)}: {json.dumps(part)}" for name, part in order.items())
    teller.command(f'curl {address} -H "X-API-Key: $KEY" -H "{json_type}" -d \'{{\n      {parts} }}\'')
    began = time.monotonic()
    accepted = api(
        address, "-H", f"X-API-Key: {scene.key['apiKey']}", "-H", json_type, "-d", json.dumps(order)
    )
    teller.good(f"accepted as {accepted['jobId']}")
    status = follow(teller, scene.url, scene.key["apiKey"], accepted["jobId"])
    teller.good(f"done after {time.monotonic() - began:.1f} s")
    teller.say(
        f"read from the video's host: {megabytes(scene.counts.sent)} in {scene.counts.requests} requests"
    )
    teller.say("(normalising reads twice: once to measure the loudness, once to encode)")
    return status


def receive(teller, scene, job):
    """Waits for the webhook, verifies it a second time, and returns the event."""
    teller.step("Receive the webhook")
    if not scene.witness.arrived.wait(WEBHOOK_SECS):
        raise DemoFailed(f"no webhook came within {WEBHOOK_SECS} s")
    headers, body, answer = scene.witness.seen[0]
    if answer != 200:
        raise DemoFailed(f"the listener answered {answer} to the webhook: {''.join(scene.heard).strip()}")
    for line in until("the listener's line", START_SECS, lambda: list(scene.heard) or None):
        teller.say(teller.paint(f"│ {line.rstrip()}", 2))
    verify(headers, body, scene.key["webhookSecret"])
    event = json.loads(body)
    if (event["event"], event["jobId"]) != ("job.completed", job):
        raise DemoFailed(f"the webhook is about something else: {body.decode()}")
    teller.good("the signature holds: verified by the listener, and here by Python's own hmac")
    return event


def download(teller, scene, event, scratch):
    """Fetches the result with the API key and without, and looks at it."""
    audio, again = OUTPUT / event["outputFile"]["filename"], scratch / "by-key.mp3"
    teller.step("Download the audio, both ways")
    link = event["outputFile"]["url"]
    teller.command(f"curl -O '{link}'")
    run(["curl", "-sS", "--fail", "-o", audio, link])
    private = f"{scene.url}{event['downloadUrl']}"
    teller.command(f'curl -OJ -H "X-API-Key: $KEY" {private}')
    run(["curl", "-sS", "--fail", "-o", again, "-H", f"X-API-Key: {scene.key['apiKey']}", private])
    if audio.read_bytes() != again.read_bytes():
        raise DemoFailed("the two downloads differ")
    if audio.stat().st_size != event["outputFile"]["size"]:
        raise DemoFailed("the file is not as long as the webhook said")
    teller.good("the public link and the API key give the same bytes, as many as the webhook said")

    codec, seconds = probe(audio)
    if abs(seconds - scene.seconds) > 0.1:
        raise DemoFailed(f"the audio has {seconds:.2f} s, the video {scene.seconds:.2f} s")
    teller.say(f"\n   {teller.paint(f'./{audio}', 1)}: {seconds:.2f} s by ffprobe ({codec})")


def main():
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} PATH/TO/audio-extract", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    teller = Teller()
    scratch = Path(tempfile.mkdtemp(prefix="audio-extract-demo-"))
    log = scratch / "service.log"
    try:
        with contextlib.ExitStack() as stack:
            scene = raise_curtain(stack, teller, os.path.abspath(sys.argv[1]), scratch, log)
            status = submit(teller, scene)
            event = receive(teller, scene, status["jobId"])
            download(teller, scene, event, scratch)
        teller.say("Everything that was started is stopped. Try your own videos with `make serve`.\n")
        return 0
    except KeyboardInterrupt:
        print("\n   Stopped.", file=sys.stderr)
        return 130
    except DemoFailed as failure:
        print(f"\n   ✗ The demo failed: {failure}", file=sys.stderr)
        if log.exists():
            tail = log.read_text(errors="replace").splitlines()[-20:]
            print("   The service's last words:", *tail, sep="\n   │ ", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
