// llama.cpp's batched decoding, as `benches/batched` runs it: many answers by eight sequences of one context.
// Setup once, in a folder of its own with a copy of this file:
//   npm install --ignore-scripts node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1
// Usage: node llama_batched.mjs MODEL.gguf PROMPTS.json TOKENS SEQUENCES
// Prints {"tokens", "seconds"}. A sequence keeps what its next prompt shares with its last, as a server's slot does.
import fs from "node:fs";
import os from "node:os";
import { getLlama } from "node-llama-cpp";

const [modelPath, promptsPath, tokensArg, sequencesArg] = process.argv.slice(2);
const prompts = JSON.parse(fs.readFileSync(promptsPath, "utf8"));
const [wanted, count, threads] = [Number(tokensArg), Number(sequencesArg), os.cpus().length];
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: "error", maxThreads: threads });
const model = await llama.loadModel({ modelPath, gpuLayers: 0, ignoreMemorySafetyChecks: true });
const context = await model.createContext({ sequences: count, contextSize: 2048, batchSize: 512, threads, ignoreMemorySafetyChecks: true });
const waiting = prompts.map((prompt) => model.tokenize(prompt, true));
let made = 0;
async function answer(sequence) {
  for (let tokens = waiting.shift(); tokens; tokens = waiting.shift()) {
    await sequence.adaptStateToTokens(tokens, false);
    const rest = tokens.slice(Math.min(sequence.nextTokenIndex, tokens.length - 1));
    if (sequence.nextTokenIndex > tokens.length - 1) await sequence.eraseContextTokenRanges([{ start: tokens.length - 1, end: sequence.nextTokenIndex }]);
    let here = 0;
    for await (const _ of sequence.evaluate(rest, { temperature: 0, yieldEogToken: true })) if (++here === wanted) break;
    made += here;
  }
}
const sequences = Array.from({ length: count }, () => context.getSequence());
const start = performance.now();
await Promise.all(sequences.map(answer));
console.log(JSON.stringify({ tokens: made, seconds: (performance.now() - start) / 1000 }));
process.exit(0);
