# SPDX-License-Identifier: Apache-2.0
"""Results for people: text, Markdown tables, plots, and both in docs/performance.md. All from what --json writes."""
import os
import re

import machine


def number(value):
    return f'{value:.3g}' if value < 100 else f'{value:.0f}'


def label(case, key):
    return f"{case['title']}{', ' + key if key else ''}"


def rows_of(result):
    for case in result['cases']:
        for key, row in case['rows'].items():
            yield case, key, row


def verdict(ratio):
    said = [] if ratio['aim'] is None else [f"aim {number(ratio['aim'])}: {'met' if ratio['met'] else 'MISSED'}"]
    if ratio['cpu']:
        said.append(f"the peer takes {number(ratio['cpu'])} times the CPU")
    return ', '.join(said)


def print_text(result):
    for sentence in machine.sentences(result['machine']):
        print(sentence)
    print(f"median of {result['rounds']} rounds{', quick: numbers mean nothing' if result['quick'] else ''}")
    for case in result['cases']:
        for key, row in case['rows'].items():
            print(f"\n{case['name']}: {label(case, key)}")
            for c in row['contenders']:
                cpu = f"  {c['cpu_s']:.2f} s of CPU" if c['cpu_s'] else ''
                rss = f"  {c['rss_mib']:.0f} MiB" if c['rss_mib'] else ''
                print(f"  {c['name']:<40} {number(c['median']):>8} {row['unit']:<5} "
                      f"({number(min(c['values']))} .. {number(max(c['values']))}){cpu}{rss}")
            for r in row['ratios']:
                print(f"  {r['ours']} : {r['peer']} = {r['ratio']:.2f} "
                      f"({r['low']:.2f} .. {r['high']:.2f}) {verdict(r)}".rstrip())
        if case['failed']:
            print(f"\n{case['name']}: FAILED: {case['failed']}")
        for name, why in case['missing'].items():
            print(f"  {case['name']}{': ' + name if name else ''}: not run: {why}")


def markdown(rows):
    yield '| case | ours | peer | ratio | aim | CPU ratio |'
    yield '|---|---|---|---|---|---|'
    for case, key, row in rows:
        rate = {c['name']: f"{number(c['median'])} {row['unit']}" for c in row['contenders']}
        for r in row['ratios']:
            aim = '' if r['aim'] is None else f"{number(r['aim'])}{'' if r['met'] else ' (missed)'}"
            yield (f"| {label(case, key)} | {r['ours']}: {rate[r['ours']]} | {r['peer']}: {rate[r['peer']]} "
                   f"| {r['ratio']:.2f} | {aim} | {number(r['cpu']) if r['cpu'] else ''} |")


def print_markdown(result):
    print('\n'.join(markdown(rows_of(result))))


def by_area(result):
    """Areas are what case names begin with: {'build': [(case, key, row), ...]}."""
    areas = {}
    for case, key, row in rows_of(result):
        areas.setdefault(case['name'].split('-')[0], []).append((case, key, row))
    return areas


def update_document(result, path):
    """Replaces what stands between "<!-- results: AREA -->" and "<!-- end -->", for the areas that were measured. Plots
    go to images/ beside the document. Returns why there are none, or None."""
    areas = by_area(result)
    said = '; '.join(machine.sentences(result['machine']))
    images = os.path.join(os.path.dirname(path), 'images')
    why = plot(result, images)

    def replaced(found):
        area = found[1]
        if area not in areas:
            return found[0]
        lines = [f'<!-- results: {area} -->', *markdown(areas[area]), '',
                 f"Median of {result['rounds']} rounds. {said}.", '']
        lines += [f'![{title}](images/{name})' for name, title in plots_of(area, areas[area])
                  if os.path.exists(os.path.join(images, name))]
        return '\n'.join([*lines, '<!-- end -->'])

    with open(path, encoding='utf-8') as f:
        text = f.read()
    with open(path, 'w', encoding='utf-8') as f:
        f.write(re.sub(r'<!-- results: (\w+) -->.*?<!-- end -->', replaced, text, flags=re.S))
    return why


# ---- plots ----

GOOD, BAD, PLAIN = '#2a7f62', '#b5442e', '#8a8f98'


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def plot_ratios(plt, area, rows, path):
    """Each ratio as a bar, its aim as a mark."""
    bars = [(f'{label(case, key)}\n{r["ours"]} : {r["peer"]}', r) for case, key, row in rows for r in row['ratios']]
    if not bars:
        return
    figure, axes = plt.subplots(figsize=(9, 0.8 + 0.5 * len(bars)))
    for at, (_, r) in enumerate(bars):
        color = PLAIN if r['aim'] is None else GOOD if r['met'] else BAD
        axes.barh(at, r['ratio'], color=color, height=0.6, xerr=[[r['ratio'] - r['low']], [r['high'] - r['ratio']]],
                  error_kw={'elinewidth': 0.8, 'ecolor': '#333333'})
        if r['aim'] is not None:
            axes.plot([r['aim']] * 2, [at - 0.4, at + 0.4], color='black', linewidth=2)
        axes.annotate(f" {r['ratio']:.2f}", (r['high'], at), va='center', fontsize=8)
    axes.set_yticks(range(len(bars)), [name for name, _ in bars], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color='#333333', linewidth=0.6, linestyle=':')
    axes.set_xlabel('times as fast as the peer (black: the aim; whiskers: slowest and fastest round)', fontsize=8)
    axes.set_title(area, fontsize=10)
    save(figure, path)
    plt.close(figure)


def plot_scale(plt, case, key, row, path):
    """A row whose contenders differ by their number of threads."""
    lines = {}
    for c in row['contenders']:
        if c['name'] in row['scale']:
            who = c['name'].rsplit(',', 1)[0]
            lines.setdefault(who, []).append((row['scale'][c['name']], c['median']))
    figure, axes = plt.subplots(figsize=(6, 4))
    for who, points in lines.items():
        points.sort()
        axes.plot(*zip(*points), marker='o', label=who)
    axes.set_ylim(bottom=0)
    axes.set_xlabel('threads')
    axes.set_ylabel(row['unit'])
    axes.set_title(label(case, key), fontsize=10)
    axes.legend(fontsize=8)
    save(figure, path)
    plt.close(figure)


def plots_of(area, rows):
    """(file name, title) of each plot of an area: its ratios, and the rows that grow with threads."""
    yield f'ratios-{area}.png', f'Ratios: {area}'
    for case, key, row in rows:
        if row['scale']:
            yield f"{case['name']}{'-' + key if key else ''}.png", f'{label(case, key)}, by threads'


def plot(result, directory):
    """Returns why there are no plots, or None."""
    try:
        import matplotlib
    except ImportError:
        return 'no plots: this python3 has no matplotlib (Debian: python3-matplotlib)'
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    os.makedirs(directory, exist_ok=True)
    for area, rows in by_area(result).items():
        names = [os.path.join(directory, name) for name, _ in plots_of(area, rows)]
        plot_ratios(plt, area, rows, names[0])
        for (case, key, row), name in zip([r for r in rows if r[2]['scale']], names[1:]):
            plot_scale(plt, case, key, row, name)
    return None
