"""Receives webhooks, and believes only those that audio-extract signed.

    WEBHOOK_SECRET=whsec_… PORT=3000 python receiver.py
"""

import os

from flask import Flask, request
from standardwebhooks import Webhook, WebhookVerificationError
from werkzeug.serving import make_server

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
app = Flask(__name__)


@app.post("/webhook")
def receive():
    try:
        # The signature covers the bytes as they came, so the body is verified before it is parsed.
        payload = webhook.verify(request.get_data(), dict(request.headers))
    except (WebhookVerificationError, ValueError):  # ValueError: bytes that are no text or no base64
        return "Not genuine", 400

    if payload["event"] == "job.completed":
        print(f"Job {payload['jobId']} completed", flush=True)
        print(f"Download: {payload['outputFile']['url']}", flush=True)
    elif payload["event"] == "job.failed":
        print(f"Job {payload['jobId']} failed: {payload['error']['message']}", flush=True)

    return "Received", 200


if __name__ == "__main__":
    # PORT=0 takes a free port; the line below says which.
    server = make_server("127.0.0.1", int(os.environ.get("PORT", "3000")), app, threaded=True)
    print(f"Listening on port {server.server_port}", flush=True)
    server.serve_forever()
