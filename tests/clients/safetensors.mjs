// SPDX-License-Identifier: Apache-2.0
// A safetensors reader takes the tensors of DIR/tiny.safetensors apart: safetensors.mjs DIR
import {createHash} from "node:crypto";
import {readFileSync} from "node:fs";
import path from "node:path";
import {createRequire} from "node:module";

const {SafeTensor} = createRequire(import.meta.url)("safetensors");
const file = new SafeTensor(new Uint8Array(readFileSync(path.join(process.argv[2], "tiny.safetensors"))));
const tensors = {};

for (const [name, {shape}] of file.metadata)
    tensors[name] = {shape, sha256: createHash("sha256").update(file.getTensor(name)).digest("hex")};
console.log(JSON.stringify(tensors));
