// SPDX-License-Identifier: Apache-2.0
// ONNX Runtime loads DIR/matmul.onnx, whose weight lies in a file beside it, and runs it: onnx.mjs DIR
import path from "node:path";
import ort from "onnxruntime-node";

const session = await ort.InferenceSession.create(path.join(process.argv[2], "matmul.onnx"), {intraOpNumThreads: 1});
const x = Float32Array.from({length: 1024}, (_, i) => Math.sin(i));
const {y} = await session.run({x: new ort.Tensor("float32", x, [1, 1024])});

console.log(JSON.stringify({y: Array.from(y.data)}));
