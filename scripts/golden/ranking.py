"""Writes tests/golden/eval/ranking.json: ranking metrics of RecBole and scikit-learn on random rankings.

Made with recbole 1.2.1 (pip install --no-deps: only its metric classes are used), scikit-learn 1.9.1, numpy 2.4.6.
Usage: python scripts/golden/ranking.py tests/golden/eval
"""
import enum
import importlib.util
import json
import os
import sys
import types

import numpy as np
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, ndcg_score, precision_score, recall_score

ITEMS, LENGTH, KS = 60, 10, [1, 3, 5, 10]
np.float = float  # RecBole 1.2.1 still uses the name that NumPy 1.24 removed


def recbole_metrics():
    """recbole.evaluator.metrics without recbole.utils, which would want torch, pandas, tensorboard ..."""
    root = os.path.dirname(importlib.util.find_spec("recbole").origin)
    utils = types.ModuleType("recbole.utils")
    spec = importlib.util.spec_from_file_location("enum_type", os.path.join(root, "utils", "enum_type.py"))
    enum_type = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(enum_type)
    utils.EvaluatorType = enum_type.EvaluatorType
    for name in ("recbole.utils", "recbole.evaluator"):
        sys.modules[name] = utils if name.endswith("utils") else types.ModuleType(name)
    sys.modules["recbole.evaluator"].__path__ = [os.path.join(root, "evaluator")]
    import recbole.evaluator.metrics as metrics
    return metrics


def case(rng, single):
    ranked = rng.permutation(ITEMS)[:LENGTH]
    count = 1 if single else int(rng.integers(1, 16))
    near = rng.permutation(ranked)[: int(rng.integers(0, min(count, LENGTH) + 1))]
    others = rng.permutation(np.setdiff1d(np.arange(ITEMS), near))[: count - len(near)]
    return ranked.tolist(), np.concatenate([near, others]).astype(int).tolist()


def by_recbole(metrics, cases, popularity):
    config = {"topk": KS, "metric_decimal_place": 30}
    hits = np.array([[item in relevant for item in ranked] for ranked, relevant in cases])
    lengths = np.array([len(relevant) for _, relevant in cases])
    out = {}
    for key, name in (("recall", "Recall"), ("hit_rate", "Hit"), ("ndcg", "NDCG"), ("mrr", "MRR"), ("map", "MAP"), ("precision", "Precision")):
        out[key] = getattr(metrics, name)(config).metric_info(hits, lengths) if name in ("Recall", "NDCG", "MAP") else \
            getattr(metrics, name)(config).metric_info(hits)
        out[key] = [float(out[key][:, k - 1].mean()) for k in KS]
    matrix = np.array([ranked for ranked, _ in cases])
    coverage, gini = metrics.ItemCoverage(config), metrics.GiniIndex(config)
    out["coverage"] = [float(coverage.get_coverage(matrix[:, :k], ITEMS)) for k in KS]
    out["gini"] = [float(gini.get_gini(matrix[:, :k], ITEMS)) for k in KS]
    average = metrics.AveragePopularity(config)
    out["average_popularity"] = [float(average.metric_info(np.array(popularity)[matrix])[:, k - 1].mean()) for k in KS]
    return out


def by_scikit_learn(cases):
    truth = np.array([[item in relevant for item in range(ITEMS)] for _, relevant in cases]).astype(int)
    scores = np.zeros((len(cases), ITEMS))
    for row, (ranked, _) in enumerate(cases):
        scores[row, ranked] = np.arange(LENGTH, 0, -1)
        rest = np.setdiff1d(np.arange(ITEMS), ranked)
        scores[row, rest] = -np.arange(1, len(rest) + 1)
    out = {"ndcg": [float(ndcg_score(truth, scores, k=k)) for k in KS], "precision": [], "recall": []}
    order = np.argsort(-scores, axis=1)
    for k in KS:
        top = np.zeros_like(truth)
        np.put_along_axis(top, order[:, :k], 1, axis=1)
        out["precision"].append(float(precision_score(truth, top, average="samples")))
        out["recall"].append(float(recall_score(truth, top, average="samples")))
    # Over the whole ranking, K = number of items: MRR for one relevant item, MAP for several.
    out["full_ranking"] = order.tolist()
    out["full_map"] = float(np.mean([average_precision_score(t, s) for t, s in zip(truth, scores)]))
    if all(len(relevant) == 1 for _, relevant in cases):
        out["full_mrr"] = float(label_ranking_average_precision_score(truth, scores))
    return out


def main(folder):
    metrics, rng, sets = recbole_metrics(), np.random.default_rng(11), []
    for single in (True, False):
        popularity = rng.integers(0, 50, ITEMS).tolist()
        cases = [case(rng, single) for _ in range(25)]
        sets.append({"ks": KS, "train_counts": popularity, "cases": [{"ranked": r, "relevant": t} for r, t in cases],
                     "recbole": by_recbole(metrics, cases, popularity), "scikit_learn": by_scikit_learn(cases)})
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "ranking.json"), "w") as out:
        json.dump({"made_with": "recbole 1.2.1, scikit-learn 1.9.1, numpy 2.4.6", "sets": sets}, out)
        out.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
