// A resource behind the gateway: it writes down the fields of the last request.
//
//   node upstream.mjs PORT FILE
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";

const [port, file] = process.argv.slice(2);
createServer((request, answer) => {
  writeFileSync(file, JSON.stringify(request.headers));
  answer.setHeader("content-type", "application/json").end("{}");
}).listen(Number(port), "127.0.0.1", () => console.log("listening"));
