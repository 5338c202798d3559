# SPDX-License-Identifier: Apache-2.0
"""What is broken on the disk is EIO for who reads it, and nothing else: no wrong byte, no shortened file."""
import errno
import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys

from mountlib import (REFUSED, find_bytes, flat_disk, flip, gpt_disk, is_mounted, main, mount, mounted, refused, require,
                      require_fuse, sandbox, start, wait_until)

PAGE = 4096
SIZE = 40 * PAGE + 123
BROKEN = 17  # page of the file
CONTENT = random.Random(11).randbytes(SIZE)


def make_disk(name, more=()):
    tree = sandbox.file('tree')
    if not os.path.isdir(tree):
        os.makedirs(f'{tree}/sub/deeper')
        with open(f'{tree}/sub/deeper/weights.bin', 'wb') as file:
            file.write(CONTENT)
        with open(f'{tree}/good', 'wb') as file:
            file.write(CONTENT[::-1])
    return flat_disk(tree, name, *more)


def broken_disk(name):
    disk, root, length = make_disk(name)
    at = find_bytes(disk, CONTENT[BROKEN * PAGE:(BROKEN + 1) * PAGE])
    flip(disk, at + 1234)
    return disk, root, at


def read_page(fd, page):
    """The page's bytes, or the error."""
    try:
        return os.pread(fd, PAGE, page * PAGE)
    except OSError as err:
        return err.errno


def page_of(content, page):
    return content[page * PAGE:(page + 1) * PAGE]


def a_flipped_byte_fails_its_page_and_no_other():
    disk, root, _ = broken_disk('page.disk')
    with mounted(disk, root) as m:
        fd = os.open(f'{m.path}/sub/deeper/weights.bin', os.O_RDONLY)
        for _ in range(3):  # in order, then again from the caches, in another order
            for page in random.Random(2).sample(range(41), 41):
                got = read_page(fd, page)
                assert got == (errno.EIO if page == BROKEN else page_of(CONTENT, page)), page
        assert os.fstat(fd).st_size == SIZE
        os.close(fd)
        with open(f'{m.path}/good', 'rb') as file:
            assert file.read() == CONTENT[::-1]


def a_long_read_gives_what_is_proven_and_then_eio():
    disk, root, _ = broken_disk('long.disk')
    with mounted(disk, root) as m:
        fd = os.open(f'{m.path}/sub/deeper/weights.bin', os.O_RDONLY)
        got = b''
        try:
            while True:
                more = os.read(fd, 1 << 20)
                assert more, 'the file ends early: a short reply cut it'
                got += more
        except OSError as err:
            assert err.errno == errno.EIO
        assert got == CONTENT[:BROKEN * PAGE]
        assert os.fstat(fd).st_size == SIZE
        os.close(fd)


def direct_reads_fail_as_a_whole():
    disk, root, _ = broken_disk('direct.disk')
    with mounted(disk, root) as m:
        fd = os.open(f'{m.path}/sub/deeper/weights.bin', os.O_RDONLY | os.O_DIRECT)
        buf = mmap.mmap(-1, 64 * PAGE)
        try:
            os.preadv(fd, [buf], 0)
        except OSError as err:
            assert err.errno == errno.EIO
        else:
            raise AssertionError('a read over the broken page succeeded')
        part = memoryview(buf)[:BROKEN * PAGE]
        assert os.preadv(fd, [part], 0) == BROKEN * PAGE and bytes(part) == CONTENT[:BROKEN * PAGE]
        os.close(fd)


def a_mapping_dies_on_the_broken_page_only():
    disk, root, _ = broken_disk('mapped.disk')
    with mounted(disk, root) as m:
        def touch(page):
            with open(f'{m.path}/sub/deeper/weights.bin', 'rb') as file:
                pages = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
                os._exit(0 if pages[page * PAGE:(page + 1) * PAGE] == page_of(CONTENT, page) else 2)
        for page in (0, BROKEN - 1, BROKEN, BROKEN + 1, 40):
            child = os.fork()
            if child == 0:
                touch(page)
            status = os.waitpid(child, 0)[1]
            died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS
            assert died if page == BROKEN else status == 0, (page, status)


def each_failure_is_told_once_with_its_place():
    disk, root, at = broken_disk('told.disk')
    m = mount(disk, root, '--log-format=json')
    fd = os.open(f'{m.path}/sub/deeper/weights.bin', os.O_RDONLY)
    for _ in range(5):
        assert read_page(fd, BROKEN) == errno.EIO
    os.close(fd)
    assert m.end() == 0
    events = [json.loads(line) for line in m.log().splitlines()]
    told = [event for event in events if event.get('event') == 'proof-failure']
    assert len(told) == 1, events
    assert told[0]['file'] == '"sub/deeper/weights.bin"', told
    assert told[0]['file_offset'] == str(BROKEN * PAGE) and told[0]['disk_offset'] == str(at), told
    assert told[0]['block'] == str(at // PAGE) and told[0]['tree_level'] == '-1', told
    assert len(told[0]['expected']) == len(told[0]['found']) == 64 and told[0]['expected'] != told[0]['found']
    assert 'tensor' not in told[0], told
    counts = [event for event in events if event.get('event') == 'failure-count']
    assert [(c['distinct'], c['level']) for c in counts] == [('1', 'warning')], events
    assert int(counts[0]['failures']) >= 5, events  # the kernel may try twice


def repeats_are_summed_up_each_time_they_are_ten_times_more():
    disk, root, _ = broken_disk('repeated.disk')
    with mounted(disk, root, '--log-format=json') as m:
        fd = os.open(f'{m.path}/sub/deeper/weights.bin', os.O_RDONLY)
        for _ in range(120):
            assert read_page(fd, BROKEN) == errno.EIO
        os.close(fd)
        events = [json.loads(line) for line in m.log().splitlines()]
    assert [e['event'] for e in events] == ['proof-failure', 'failure-count', 'failure-count'], events
    assert [e['failures'] for e in events[1:]] == ['10', '100'], events


def safetensors_file(tensors):
    header, data = {'__metadata__': {'format': 'pt'}}, b''
    for name, content in tensors.items():
        header[name] = {'dtype': 'U8', 'shape': [len(content)], 'data_offsets': [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + data


def gguf_file(tensors):
    def string(text):
        return struct.pack('<Q', len(text)) + text.encode()
    infos, data = b'', b''
    for name, content in tensors.items():
        infos += string(name) + struct.pack('<IQIQ', 1, len(content), 24, len(data))  # type 24: I8
        data += content + bytes(-len(content) % 32)
    out = b'GGUF' + struct.pack('<IQQ', 3, len(tensors), 2)
    out += string('general.architecture') + struct.pack('<I', 8) + string('llama')
    out += string('tokenizer.ggml.tokens') + struct.pack('<IIQ', 9, 8, 3) + string('a') + string('bc') + string('')
    out += infos
    return out + bytes(-len(out) % 32) + data


def a_failure_names_the_tensor_and_the_bytes_inside_it():
    tree, rand = sandbox.dir('model'), random.Random(14)
    tensors = {f'layer.{i}.weight': rand.randbytes(3 * PAGE + 100 * i) for i in range(5)}
    with open(f'{tree}/model.safetensors', 'wb') as file:
        file.write(safetensors_file(tensors))
    tensors = {name: content[::-1] for name, content in tensors.items()}
    with open(f'{tree}/model.gguf', 'wb') as file:
        file.write(gguf_file(tensors))
    disk, root, _ = flat_disk(tree, 'model.disk')
    with open(sandbox.file('model.root'), 'w', encoding='ascii') as file:
        file.write(root)
    wanted = {}
    for name, sign in (('model.safetensors', 1), ('model.gguf', -1)):
        with open(f'{tree}/{name}', 'rb') as file:
            content = file.read()
        begin = content.index(tensors['layer.2.weight'][::-sign])
        page = (begin + 2 * PAGE) // PAGE  # lies in the tensor whole
        wanted[name] = page, page * PAGE - begin
        flip(disk, find_bytes(disk, page_of(content, page)) + 7)
    m = mount(disk, root, '--log-format=json')
    for name, (page, _) in wanted.items():
        with open(f'{m.path}/{name}', 'rb', buffering=0) as file:
            assert read_page(file.fileno(), page) == errno.EIO
    assert m.end() == 0
    told = [event for event in map(json.loads, m.log().splitlines()) if event.get('event') == 'proof-failure']
    assert len(told) == 2, told
    for event in told:
        page, inside = wanted[event['file'].strip('"')]
        assert event['file_offset'] == str(page * PAGE) and event['length'] == str(PAGE), event
        assert event['tensor'] == '"layer.2.weight"' and event['tensors'] == '1', event
        assert event['tensor_offset'] == str(inside) and event['tensor_length'] == str(PAGE), event
        assert event['partition_offset'] == event['disk_offset'], event  # a flat disk
        assert f'(tensor "layer.2.weight", bytes {inside} to {inside + PAGE - 1})' in event['message'], event


def verify_names_the_tensor_as_well():
    disk, root = sandbox.file('model.disk'), sandbox.file('model.root')  # of the test before
    result = subprocess.run([sandbox.mountfs, '--verify', '--json', disk, f'--root-hash-file={root}'],
                            capture_output=True, text=True, check=False)
    assert result.returncode == REFUSED, result
    files = [file for bad in json.loads(result.stdout)['bad_blocks'] for file in bad['files']]
    assert {file['path'] for file in files} == {'model.safetensors', 'model.gguf'}, files
    for file in files:
        assert (file['tensor'], file['tensors'], file['tensor_length']) == ('"layer.2.weight"', 1, PAGE), file
    text = subprocess.run([sandbox.mountfs, '--verify', disk, f'--root-hash-file={root}'], capture_output=True,
                          text=True, check=False).stdout
    assert text.count('(tensor "layer.2.weight" bytes ') == 2, text


def a_partition_offset_is_told_beside_the_disk_offset():
    tree = sandbox.dir('parted')
    with open(f'{tree}/weights.bin', 'wb') as file:
        file.write(CONTENT)
    disk, root = gpt_disk(tree)
    at = find_bytes(disk, page_of(CONTENT, BROKEN))
    flip(disk, at)
    m = mount(disk, root, '--log-format=json')
    with open(f'{m.path}/weights.bin', 'rb', buffering=0) as file:
        assert read_page(file.fileno(), BROKEN) == errno.EIO
    assert m.end() == 0
    event, = (e for e in map(json.loads, m.log().splitlines()) if e['event'] == 'proof-failure')
    assert (event['disk_offset'], event['partition_offset']) == (str(at), str(at - (1 << 20))), event
    assert f'(disk offset {at}, partition offset {at - (1 << 20)})' in event['message'], event


def a_broken_hash_block_fails_what_hangs_from_it():
    tree, pages, per_block = sandbox.dir('big'), 800, PAGE // 32
    content = random.Random(12).randbytes(pages * PAGE)
    with open(f'{tree}/big', 'wb') as file:
        file.write(content)
    disk, root, length = flat_disk(tree, 'tree.disk')
    first = find_bytes(disk, page_of(content, 0)) // PAGE  # data block of page 0
    level_0 = length + 2 * PAGE  # behind superblock and top block
    flip(disk, level_0 + 2 * PAGE + 64)
    with mounted(disk, root, '--log-format=json') as m:
        fd = os.open(f'{m.path}/big', os.O_RDONLY)
        for page in range(pages):
            is_broken = (first + page) // per_block == 2
            assert read_page(fd, page) == (errno.EIO if is_broken else page_of(content, page)), page
        os.close(fd)
        events = [json.loads(line) for line in m.log().splitlines()]
    told = [(e['tree_level'], e['block'], e['file']) for e in events if e['event'] != 'failure-count']
    assert told == [('0', '2', '"big"')], events


def a_disk_in_ruins_is_counted_rather_than_told_for_ever():
    tree, pages = sandbox.dir('ruins'), 1200
    content = random.Random(13).randbytes(pages * PAGE)
    with open(f'{tree}/big', 'wb') as file:
        file.write(content)
    disk, root, _ = flat_disk(tree, 'ruins.disk')
    first = find_bytes(disk, page_of(content, 0))
    for page in range(pages):
        flip(disk, first + page * PAGE)
    m = mount(disk, root, '--log-format=json')
    fd = os.open(f'{m.path}/big', os.O_RDONLY)
    for page in range(pages):
        assert read_page(fd, page) == errno.EIO, page
    os.close(fd)
    assert m.end() == 0
    events = [json.loads(line) for line in m.log().splitlines()]
    assert len([e for e in events if e.get('event') == 'proof-failure']) == 1024
    assert [e['level'] for e in events if 'event' not in e] == ['warning'], events[-3:]
    counts = [int(e['failures']) for e in events if e.get('event') == 'failure-count']
    assert counts[:3] == [10, 100, 1000] and counts[3] >= pages, counts
    assert events[-1]['distinct'] == '1024', events[-1]


def a_broken_tree_that_cannot_be_opened_is_refused():
    disk, root, _ = make_disk('top.disk')
    flip(disk, os.path.getsize(disk) - PAGE + 64)  # the last block of level 0
    where = sandbox.dir('nothing')
    status, said = refused('--root-hash=' + root, disk, where)
    assert status == REFUSED and 'root hash' in said, said
    assert not is_mounted(where)


def a_broken_directory_hides_no_sign_of_itself():
    tree = sandbox.dir('wide')
    for i in range(3000):
        with open(f'{tree}/file-{i:05}', 'wb'):
            pass
    disk, root, _ = flat_disk(tree, 'wide.disk')
    at = find_bytes(disk, b'file-02000file-02001')
    flip(disk, at)
    with mounted(disk, root) as m:
        for call in (lambda: os.listdir(m.path), lambda: os.stat(f'{m.path}/file-02000'),
                     lambda: os.stat(f'{m.path}/file-02000x')):
            try:
                call()
            except OSError as err:
                assert err.errno == errno.EIO, err
            else:
                raise AssertionError('a broken directory was listed')
        assert os.stat(f'{m.path}/file-00000').st_size == 0


def a_medium_that_shrinks_is_told_apart():
    disk, root, length = make_disk('shrinks.disk')
    m = mount(disk, root, '--log-format=json')
    with open(disk, 'r+b') as file:
        at = find_bytes(disk, page_of(CONTENT, BROKEN))
        file.truncate(at)
    fd = os.open(f'{m.path}/sub/deeper/weights.bin', os.O_RDONLY)
    assert read_page(fd, BROKEN) == errno.EIO
    assert os.fstat(fd).st_size == SIZE
    os.close(fd)
    assert m.end() == 0
    kinds = {json.loads(line).get('event') for line in m.log().splitlines()}
    assert 'media-failure' in kinds and 'proof-failure' not in kinds, kinds


def a_disk_rewritten_under_the_mount_gives_eio_and_never_other_bytes():
    disk, root, _ = make_disk('mutating.disk')
    with open(disk, 'rb') as file:
        original = file.read()
    m = mount(disk, root)
    writer = start(sys.executable, '-c', f'''
import os, random
rand, fd = random.Random(3), os.open({disk!r}, os.O_RDWR)
original = os.pread(fd, {len(original)}, 0)
while True:
    at = rand.randrange(len(original) // 512) * 512
    os.pwrite(fd, rand.randbytes(512), at)
    os.pwrite(fd, original[at:at + 512], at)
''')
    good = bad = 0
    fd = os.open(f'{m.path}/sub/deeper/weights.bin', os.O_RDONLY | os.O_DIRECT)
    buf = mmap.mmap(-1, 16 * PAGE)
    for round_ in range(3000):
        page = round_ % 3 * 13
        try:
            count = os.preadv(fd, [buf], page * PAGE)
        except OSError as err:
            assert err.errno == errno.EIO
            bad += 1
            continue
        assert buf[:count] == CONTENT[page * PAGE:page * PAGE + 16 * PAGE], 'bytes that were never packed'
        good += 1
    os.close(fd)
    writer.kill()
    assert m.end() == 0
    print(f'note: {good} reads good, {bad} refused')


def on_corruption_exit_unmounts_and_ends_with_3():
    disk, root, _ = broken_disk('exit.disk')
    m = mount(disk, root, '--on-corruption=exit')
    fd = os.open(f'{m.path}/sub/deeper/weights.bin', os.O_RDONLY)
    assert read_page(fd, BROKEN) in (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED)
    os.close(fd)
    assert m.process.wait(60) == REFUSED, m.log()
    wait_until('the mount is gone', lambda: not is_mounted(m.path))


def media_errors_do_not_count_as_corruption():
    disk, root, _ = make_disk('media.disk')
    m = mount(disk, root, '--on-corruption=exit')
    with open(disk, 'r+b') as file:
        file.truncate(find_bytes(disk, page_of(CONTENT, BROKEN)))
    fd = os.open(f'{m.path}/sub/deeper/weights.bin', os.O_RDONLY)
    assert read_page(fd, BROKEN) == errno.EIO
    os.close(fd)
    assert m.end() == 0


require('mkfs.erofs', 'veritysetup', 'sgdisk')
require_fuse()
main([a_flipped_byte_fails_its_page_and_no_other, a_long_read_gives_what_is_proven_and_then_eio,
      direct_reads_fail_as_a_whole, a_mapping_dies_on_the_broken_page_only, each_failure_is_told_once_with_its_place,
      repeats_are_summed_up_each_time_they_are_ten_times_more,
      a_failure_names_the_tensor_and_the_bytes_inside_it, verify_names_the_tensor_as_well,
      a_partition_offset_is_told_beside_the_disk_offset,
      a_broken_hash_block_fails_what_hangs_from_it, a_disk_in_ruins_is_counted_rather_than_told_for_ever,
      a_broken_tree_that_cannot_be_opened_is_refused, a_broken_directory_hides_no_sign_of_itself,
      a_medium_that_shrinks_is_told_apart, a_disk_rewritten_under_the_mount_gives_eio_and_never_other_bytes,
      on_corruption_exit_unmounts_and_ends_with_3, media_errors_do_not_count_as_corruption])
