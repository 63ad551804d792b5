"""The look of a report's page, light and dark, wide and narrow."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --paper: #ffffff; --panel: #f6f8fa; --line: #d1d9e0;
  --right: #1a7f37; --wrong: #c4321c; --bar: #2563eb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa4af; --paper: #0d1117; --panel: #161b22;
  --line: #30363d; --right: #3fb950; --wrong: #ff7b62; --bar: #6ea0ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: break-word; }
main { max-width: 1200px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 6px; display: flex; flex-wrap: wrap; gap: 12px;
  align-items: center; }
h2 { font-size: 1.15rem; margin: 34px 0 10px; }
h3 { font-size: 1rem; margin: 0; display: inline; }
p { margin: 6px 0; }
code, pre, .number { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code, .number { font-size: .9em; }
.soft { color: var(--soft); }
.small { font-size: .86rem; }
.verdict { color: var(--paper); border-radius: 6px; padding: 3px 12px; font-size: 1.1rem; font-weight: 700; }
.verdict.ok { background: var(--right); } .verdict.no { background: var(--wrong); }
.ok > b, b.ok { color: var(--right); } .no > b, b.no { color: var(--wrong); }
.findings { list-style: none; margin: 16px 0 0; padding: 0; }
.findings li { border-left: 4px solid var(--wrong); background: var(--panel); padding: 8px 14px; margin: 8px 0;
  border-radius: 0 6px 6px 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; white-space: nowrap; }
.few { width: auto; } .few th, .few td { padding-right: 36px; }
td.number { white-space: nowrap; } td.words { min-width: 13em; }
details { border: 1px solid var(--line); border-radius: 8px; margin: 12px 0; }
summary { cursor: pointer; padding: 10px 16px; background: var(--panel); border-radius: 8px; }
details[open] > summary { border-radius: 8px 8px 0 0; border-bottom: 1px solid var(--line); }
.inside { padding: 10px 16px 16px; }
.pictures, .plots { display: flex; flex-wrap: wrap; gap: 14px 26px; margin: 14px 0; }
.pictures.strips { flex-direction: column; }
figure { margin: 0; max-width: 100%; }
figure img { display: block; max-width: 100%; height: auto; border: 1px solid var(--line); image-rendering: pixelated; }
.strips img { width: 100%; height: 34px; }
.strips figure { width: 100%; max-width: 760px; }
figcaption { font-size: .9rem; margin-bottom: 4px; font-weight: 600; }
.colours { display: flex; gap: 8px; align-items: center; font-size: .8rem; margin-top: 6px; color: var(--soft); }
.colours i { flex: 1; height: 10px; min-width: 50px; border: 1px solid var(--line);
  background: linear-gradient(to right, rgb(37 99 235), rgb(37 99 235 / 0) 50%, rgb(225 87 12 / 0) 50%,
    rgb(225 87 12)); }
.plots figure { flex: 1 1 320px; max-width: 460px; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg .bar { fill: var(--bar); } svg .axis { stroke: var(--soft); }
svg .rounding, svg .whole { stroke: var(--ink); stroke-width: 1; fill: none; }
svg .rounding { stroke-dasharray: 4 3; }
.checks { list-style: none; margin: 0; padding: 0; display: grid; gap: 4px 28px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); }
.checks .no { grid-column: 1 / -1; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; overflow-x: auto;
  font-size: .86rem; margin: 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 0; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; }
"""
