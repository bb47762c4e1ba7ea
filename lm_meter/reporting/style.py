"""The style of a page: colours for light and dark, and what makes it readable on a narrow screen."""

from __future__ import annotations

# Colours of kinds of operations and of curves are Okabe and Ito's (2008), which can be told apart without red and
# green; darker for light pages and lighter for dark ones, so that they keep a contrast of 3 to 1 with the page.
STYLE = """
:root{color-scheme:light dark;--page:#fff;--card:#f6f7f9;--ink:#1b1f24;--soft:#57606a;--rule:#d5dae0;--grid:#e4e8ec;
--link:#0550ae;--c1:#0072b2;--c2:#c2410c;--multiply:#0072b2;--add:#d1660a;--divide:#8a6d00;--transcendental:#00845f;
--compare:#b0508a;--bitwise:#5b5fc7;--convert:#6b7280;--front:#b42318}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--card:#1d2127;--ink:#e6e9ee;--soft:#a3adb8;--rule:#3a414a;
--grid:#2b3138;--link:#7cb8ff;--c1:#56b4e9;--c2:#f5a25d;--multiply:#56b4e9;--add:#f0a04b;--divide:#e2c94a;
--transcendental:#3cc79b;--compare:#e08dbd;--bitwise:#a3a6ff;--convert:#a7b0bb;--front:#ff8f7a}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 16px 64px}
h1,h2,h3,h4,h5,h6{line-height:1.25;margin:1.6em 0 .5em;overflow-wrap:anywhere}
h1{font-size:1.7rem;margin-top:0}h2{font-size:1.35rem;border-bottom:1px solid var(--rule);padding-bottom:.25em}
h3{font-size:1.12rem}h4,h5,h6{font-size:1rem}
p{max-width:75ch;margin:.6em 0;overflow-wrap:anywhere}
a{color:var(--link)}
nav ul{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.3em 1.2em}
summary{cursor:pointer}summary h2,summary h3,summary h4,summary h5{display:inline;border:0}
details{margin:.8em 0}details details{margin-left:0}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;font-size:.875em}
pre{overflow-x:auto;padding:12px;background:var(--card);border:1px solid var(--rule);border-radius:6px;max-width:100%}
pre code{font-size:.82rem}
.wide{overflow-x:auto;max-width:100%;margin:1em 0;border:1px solid var(--rule);border-radius:6px}
.wide:focus-visible,pre:focus-visible,summary:focus-visible{outline:2px solid var(--link);outline-offset:2px}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums;width:100%}
caption{text-align:left;font-weight:600;padding:8px 12px;background:var(--card);border-bottom:1px solid var(--rule)}
th,td{padding:5px 12px;text-align:left;vertical-align:top;border-bottom:1px solid var(--grid)}
tbody tr:last-child>*{border-bottom:0}
thead th{min-width:5em;color:var(--soft);font-weight:600;border-bottom-color:var(--rule)}
tbody th{font-weight:500}.pairs th{width:34%}.pairs td{overflow-wrap:anywhere}
td.t{min-width:18em}.n{text-align:right;white-space:nowrap}thead .n{white-space:normal}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:16px;margin:1em 0;
align-items:start}
figure{margin:0;padding:14px;background:var(--card);border:1px solid var(--rule);border-radius:8px;min-width:0;
max-width:640px}
figcaption{font-weight:600;margin-bottom:.4em}
figure svg:not(.swatch){display:block;width:100%;height:auto}
figure details{margin:.5em 0 0}figure summary{color:var(--soft);font-size:.875rem}
figure .wide{max-height:24em;overflow:auto;background:var(--page)}figure td.t{min-width:0}
figure th,figure td{overflow-wrap:anywhere}figure thead th{min-width:0}
.legend{list-style:none;margin:0 0 .6em;padding:0;display:flex;flex-wrap:wrap;gap:.15em 1em;font-size:.82rem}
.legend li{display:flex;align-items:center;gap:.45em}
.swatch{width:18px;height:12px;flex:none}
svg text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--soft)}
svg .label,svg .value{fill:var(--ink)}svg .value{font-variant-numeric:tabular-nums}svg .quiet{font-size:11px}
.axis{stroke:var(--soft);fill:none}.grid{stroke:var(--grid);fill:none}.track{fill:var(--grid)}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.c-1{fill:var(--c1)}.c-2{fill:var(--c2)}.c-1.line{stroke:var(--c1);fill:none}.c-2.line{stroke:var(--c2);fill:none}
.k-multiply{fill:var(--multiply)}.k-add{fill:var(--add)}.k-divide{fill:var(--divide)}
.k-transcendental{fill:var(--transcendental)}.k-compare{fill:var(--compare)}.k-bitwise{fill:var(--bitwise)}
.k-convert{fill:var(--convert)}
.s-1{fill-opacity:.68}.s-2{fill-opacity:.46}.s-3{fill-opacity:.3}
.r-values{fill:var(--c1)}.r-scales{fill:var(--c2)}.r-offsets{fill:var(--divide)}.r-codebook{fill:var(--transcendental)}
.r-mask{fill:var(--compare)}.r-levels{fill:var(--bitwise)}
.dot{stroke:var(--page);stroke-width:1.5}.hollow{fill:var(--page);stroke:var(--c1);stroke-width:2.5}
.claimed{fill:var(--page);stroke:var(--c2);stroke-width:2.5;stroke-dasharray:3 2}
.base{fill:var(--ink)}.front.line{stroke:var(--front);stroke-dasharray:7 4}
.equal.line{stroke:var(--rule);stroke-width:1.5}
@media (max-width:520px){main{padding:16px 12px 48px}th,td{padding:5px 8px}figure{padding:10px}h1{font-size:1.4rem}
svg text{font-size:15px}.pairs th{width:42%}}
@page{margin:12mm}
@media print{main{max-width:none;padding:0}figure,tr{break-inside:avoid}thead{display:table-header-group}
.wide,figure .wide{overflow:visible;max-height:none}table{font-size:7.5pt}th,td{padding:2px 4px}
th,td,.n,td.t,thead th{min-width:0;white-space:normal;overflow-wrap:anywhere}}
"""
