"""What a training report needs beside the style of every page: swatches, digits, the confusion matrix, plots."""

COLOURS = ("#1f6fb4", "#e07b28", "#2a8c4a", "#c8332b", "#8250c4", "#8c6d46", "#d6479b", "#5f6b76", "#a3a52a", "#23a5b8")
"""One for each run; the eleventh run has the first one's again."""

REPORT_STYLE = """
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 3px; margin-right: .5em; flex: none; }
section.run { border-top: 3px solid var(--line); margin-top: 44px; }
section.run > h2 { font-size: 1.4rem; margin-top: 18px; overflow-wrap: anywhere; }
section.run h3 { display: block; margin: 26px 0 8px; }
.plain { list-style: none; padding: 0; margin: 10px 0; }
.note { border-left: 4px solid #bf8700; background: var(--panel); padding: 8px 14px; margin: 10px 0;
  border-radius: 0 6px 6px 0; overflow-wrap: anywhere; }
.curves { display: grid; gap: 18px 28px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.curves figure { max-width: 620px; }
.curves img, .wide img { image-rendering: auto; background: #fff; border-radius: 6px; padding: 4px; width: 100%; }
.wide img { min-width: 860px; }
.digits { display: grid; gap: 14px 12px; grid-template-columns: repeat(auto-fill, minmax(98px, 1fr)); margin: 12px 0; }
.digits figure { font-size: .82rem; line-height: 1.35; }
.digits img { width: 84px; height: 84px; }
.digits figcaption { margin: 4px 0 0; font-size: inherit; font-weight: 400; }
table.confusion { width: auto; font-size: .82rem; }
table.confusion th, table.confusion td { border: 1px solid var(--line); padding: 3px 0; min-width: 2.4em;
  text-align: center; font-variant-numeric: tabular-nums; }
table.confusion th { padding: 3px 6px; } table.confusion td.zero { color: transparent; }
table.confusion td.right { font-weight: 700; }
table.confusion td.share { border: 0; padding-left: 10px; color: var(--soft); white-space: nowrap; }
table.confusion thead th.share { border: 0; padding-left: 10px; text-align: left; }
td.same { color: var(--soft); } td.differs { font-weight: 700; }
.runs th[scope=row] { overflow-wrap: anywhere; min-width: 11em; }
.runs th a { display: flex; align-items: baseline; }
.settings thead th { white-space: normal; overflow-wrap: anywhere; min-width: 7em; }
.runs td { white-space: nowrap; } .runs td.words { white-space: normal; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
dd { overflow-wrap: anywhere; }
@media (max-width: 600px) {
  main { padding: 16px 14px 36px; }
  table.confusion { font-size: .7rem; } table.confusion th { padding: 2px; min-width: 2.1em; }
  table.confusion td { min-width: 2.1em; }
  table.confusion td.share, table.confusion thead th.share { padding-left: 5px; }
  .digits { grid-template-columns: repeat(auto-fill, minmax(72px, 1fr)); }
  .digits img { width: 68px; height: 68px; }
}
"""
