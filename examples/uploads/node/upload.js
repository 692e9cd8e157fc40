// Sends a file, and goes on where it broke off: after a lost connection by itself, after a crash when started again.
//
//   API_KEY=ae_… node upload.js http://127.0.0.1:8080 talk.mp4

import { createReadStream } from "node:fs";
import { basename } from "node:path";
import * as tus from "tus-js-client";

const [service, path] = process.argv.slice(2);

const upload = new tus.Upload(createReadStream(path), {
  endpoint: `${service}/audio-extract/v1/uploads`,
  headers: { "X-API-Key": process.env.API_KEY ?? "" },
  metadata: { filename: basename(path) },
  retryDelays: [0, 1000, 3000, 5000, 10000],
  // Where the URLs of unfinished uploads are remembered.
  urlStorage: new tus.FileUrlStorage(`${path}.uploads.json`),
  removeFingerprintOnSuccess: true,
  onUploadUrlAvailable: () => console.log(`Sending to ${upload.url}`),
  onSuccess: () => console.log(`Sent; name it in a job as ${basename(upload.url)}`),
  onError: (error) => {
    console.error(error.message);
    process.exitCode = 1;
  },
});

const [previous] = await upload.findPreviousUploads();
if (previous) upload.resumeFromPreviousUpload(previous);
upload.start();
