#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes small models in the formats that inference servers load: make_models.py DIR

DIR/tiny.gguf        a llama with random weights (ggml-org/ggml docs/gguf.md)
DIR/matmul.onnx      y = relu(x * weight), its weight in DIR/matmul.onnx.data (onnx/onnx onnx.proto3, ExternalData.md)
DIR/tiny.safetensors two tensors (huggingface/safetensors README)

What they compute means nothing; that it is the same twice does.
"""
import hashlib
import json
import os
import random
import struct
import sys


def floats(seed, count, scale=0.05):
    rng = random.Random(seed)
    return struct.pack(f'<{count}f', *(rng.uniform(-scale, scale) for _ in range(count)))


# ---- GGUF ----

U32, F32, STRING, ARRAY, I32 = 4, 6, 8, 9, 5  # gguf_metadata_value_type
ALIGNMENT = 32


def gguf_string(text):
    raw = text.encode()
    return struct.pack('<Q', len(raw)) + raw


def gguf_value(kind, value):
    if kind == STRING:
        return gguf_string(value)
    return struct.pack({U32: '<I', I32: '<i', F32: '<f'}[kind], value)


def gguf_pair(key, kind, value):
    if not isinstance(value, list):
        return gguf_string(key) + struct.pack('<I', kind) + gguf_value(kind, value)
    items = b''.join(gguf_value(kind, item) for item in value)
    return gguf_string(key) + struct.pack('<IIQ', ARRAY, kind, len(value)) + items


def gguf_vocabulary():
    """Tokens, scores and types as SentencePiece has them: specials, every byte, some letters."""
    tokens = ['<unk>', '<s>', '</s>'] + [f'<0x{byte:02X}>' for byte in range(256)]
    kinds = [2, 3, 3] + [6] * 256  # unknown, control, byte
    letters = ['\u2581'] + [chr(c) for c in range(ord('a'), ord('z') + 1)]
    return tokens + letters, [0.0] * (259 + len(letters)), kinds + [1] * len(letters)


def gguf(width=256, feed=512, layers=4, heads=4):
    tokens, scores, kinds = gguf_vocabulary()
    pairs = [
        ('general.architecture', STRING, 'llama'), ('general.name', STRING, 'tiny'),
        ('general.alignment', U32, ALIGNMENT),
        ('llama.context_length', U32, 512), ('llama.embedding_length', U32, width),
        ('llama.block_count', U32, layers), ('llama.feed_forward_length', U32, feed),
        ('llama.attention.head_count', U32, heads), ('llama.attention.head_count_kv', U32, heads),
        ('llama.rope.dimension_count', U32, width // heads),
        ('llama.attention.layer_norm_rms_epsilon', F32, 1e-5), ('llama.vocab_size', U32, len(tokens)),
        ('tokenizer.ggml.model', STRING, 'llama'), ('tokenizer.ggml.tokens', STRING, tokens),
        ('tokenizer.ggml.scores', F32, scores), ('tokenizer.ggml.token_type', I32, kinds),
        ('tokenizer.ggml.bos_token_id', U32, 1), ('tokenizer.ggml.eos_token_id', U32, 2),
        ('tokenizer.ggml.unknown_token_id', U32, 0),
    ]
    tensors = [('token_embd.weight', (width, len(tokens))), ('output_norm.weight', (width,)),
               ('output.weight', (width, len(tokens)))]
    for i in range(layers):
        tensors += [(f'blk.{i}.{name}.weight', shape) for name, shape in (
            ('attn_norm', (width,)), ('attn_q', (width, width)), ('attn_k', (width, width)),
            ('attn_v', (width, width)), ('attn_output', (width, width)), ('ffn_norm', (width,)),
            ('ffn_gate', (width, feed)), ('ffn_up', (width, feed)), ('ffn_down', (feed, width)))]
    head = b'GGUF' + struct.pack('<IQQ', 3, len(tensors), len(pairs))
    head += b''.join(gguf_pair(*pair) for pair in pairs)
    data = b''
    for name, shape in tensors:
        head += gguf_string(name) + struct.pack('<I', len(shape)) + struct.pack(f'<{len(shape)}Q', *shape)
        head += struct.pack('<IQ', 0, len(data))  # ggml_type F32
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        data += floats(name, count, 0.5)
        data += bytes(-len(data) % ALIGNMENT)
    return head + bytes(-len(head) % ALIGNMENT) + data


# ---- ONNX, which is protobuf ----

def varint(number):
    out = b''
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def number(field, value):
    return varint(field << 3) + varint(value)


def nested(field, value):
    raw = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def onnx_value(name, shape):
    dimensions = b''.join(nested(1, number(1, dim)) for dim in shape)
    return nested(1, name) + nested(2, nested(1, number(1, 1) + nested(2, dimensions)))  # tensor(float)


def onnx_node(operation, inputs, output):
    return b''.join(nested(1, name) for name in inputs) + nested(2, output) + nested(4, operation)


def onnx(rows, columns, location):
    def entry(key, value):
        return nested(13, nested(1, key) + nested(2, value))  # TensorProto.external_data

    weight = number(1, rows) + number(1, columns) + number(2, 1) + nested(8, 'weight')
    weight += entry('location', location) + entry('offset', '0') + entry('length', str(rows * columns * 4))
    weight += number(14, 1)  # data_location EXTERNAL
    graph = nested(1, onnx_node('MatMul', ['x', 'weight'], 'product')) + nested(1, onnx_node('Relu', ['product'], 'y'))
    graph += nested(2, 'tiny') + nested(5, weight)
    graph += nested(11, onnx_value('x', [1, rows])) + nested(12, onnx_value('y', [1, columns]))
    return number(1, 8) + nested(7, graph) + nested(8, nested(1, '') + number(2, 13))


# ---- safetensors ----

def safetensors(shapes):
    header, data = {}, b''
    for name, shape in shapes.items():
        raw = floats(name, shape[0] * shape[1])
        header[name] = {'dtype': 'F32', 'shape': shape, 'data_offsets': [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    return struct.pack('<Q', len(text)) + text + data


def make(directory):
    os.makedirs(directory, exist_ok=True)
    files = {
        'tiny.gguf': gguf(),
        'matmul.onnx': onnx(1024, 700, 'matmul.onnx.data'), 'matmul.onnx.data': floats('onnx', 1024 * 700),
        'tiny.safetensors': safetensors({'a.weight': [300, 701], 'b.weight': [129, 1025]}),
    }
    for name, content in files.items():
        with open(os.path.join(directory, name), 'wb') as f:
            f.write(content)
        print(hashlib.sha256(content).hexdigest(), len(content), name)


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    make(sys.argv[1])
