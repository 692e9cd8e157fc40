// The handler of the API's documentation, word for word. It believes anybody who finds its address:
// receiver.js is the same with the signature verified.
//
//   PORT=3000 node documented.js

import express from "express";

const app = express();

app.post("/webhook", express.json(), (req, res) => {
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
