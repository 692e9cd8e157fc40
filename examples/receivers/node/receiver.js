// Receives webhooks, and believes only those that audio-extract signed.
//
//   WEBHOOK_SECRET=whsec_… PORT=3000 node receiver.js

import express from "express";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET ?? "");
const app = express();

// The signature covers the bytes as they came, so the body is verified before it is parsed.
function genuine(req, res, next) {
  try {
    req.body = webhook.verify(req.body, req.headers);
  } catch {
    return res.status(400).send("Not genuine");
  }
  next();
}

app.post("/webhook", express.raw({ type: "application/json" }), genuine, (req, res) => {
  const payload = req.body;

  if (payload.event === "job.completed") {
    console.log(`Job ${payload.jobId} completed`);
    console.log(`Download: ${payload.outputFile.url}`);
  } else if (payload.event === "job.failed") {
    console.error(`Job ${payload.jobId} failed: ${payload.error.message}`);
  }

  res.status(200).send("Received");
});

// PORT=0 takes a free port; the line below says which.
const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(`Listening on port ${server.address().port}`);
});
