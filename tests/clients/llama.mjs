// SPDX-License-Identifier: Apache-2.0
// llama.cpp loads DIR/tiny.gguf by mmap and says what comes after some text: llama.mjs DIR
import path from "node:path";
import {getLlama, LlamaCompletion} from "node-llama-cpp";

const llama = await getLlama({gpu: false, build: "never", progressLogs: false, logLevel: "error", maxThreads: 1});
const model = await llama.loadModel({modelPath: path.join(process.argv[2], "tiny.gguf"), useMmap: true});
const context = await model.createContext({contextSize: 128, threads: 1});
const sequence = context.getSequence();
const tokens = [];

for await (const token of sequence.evaluate(model.tokenize("a tiny model"), {temperature: 0})) {
    tokens.push(token);
    if (tokens.length === 48)
        break;
}
console.log(JSON.stringify({tokens, mmap: model.useMmap ?? null}));
await llama.dispose();
