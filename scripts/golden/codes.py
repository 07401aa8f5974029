"""Golden values for caravan/codes from scikit-learn: TF-IDF matrices and truncated SVD.

Made with scikit-learn 1.9.1. Usage: python scripts/golden/codes.py tests/golden/codes
"""

import json
import os
import sys

import numpy as np
import sklearn
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

BRANDS = ["OPI", "Ardell", "L'Oréal", "Nexxus", "SKIN79", "maybelline"]
THINGS = ["Nail Lacquer", "Fashion Lashes", "Hair Color, 8.5", "Shampoo & Conditioner", "BB Cream", "LASH adhesive"]
EXTRA = ["0.5-Fluid Ounce", "Pack of 4", "(Wine Red)", "für Männer", "100% pure pure", "日本 mask", "x_1 a b", ""]


def texts():
    rng = np.random.RandomState(0)
    out = []
    for _ in range(60):
        parts = [BRANDS[rng.randint(len(BRANDS))], THINGS[rng.randint(len(THINGS))]]
        parts += [EXTRA[rng.randint(len(EXTRA))] for _ in range(rng.randint(0, 3))]
        out.append(" ".join(parts))
    return out


def case(name, documents, options, rank):
    vectorizer = TfidfVectorizer(sublinear_tf=True, **options)
    matrix = vectorizer.fit_transform(documents)
    svd = TruncatedSVD(rank, algorithm="arpack", random_state=0)
    left = svd.fit_transform(matrix)
    rows = [[[int(j), round(float(v), 7)] for j, v in sorted(zip(r.indices, r.data))] for r in matrix[:8]]
    return {
        "name": name,
        "terms": vectorizer.get_feature_names_out().tolist() if matrix.shape[1] < 400 else None,
        "columns": matrix.shape[1],
        "rows": rows,
        "singular": [round(float(s), 6) for s in svd.singular_values_],
        # Cosines between the items in the reduced space do not depend on signs.
        "gram": np.round((left @ left.T)[:6, :12], 6).tolist(),
    }


def main(folder):
    documents = texts()
    cases = [
        case("words", documents, {}, 8),
        case("words 1-2, df 2 to 50%", documents, {"ngram_range": (1, 2), "min_df": 2, "max_df": 0.5}, 6),
        case("characters", documents, {"analyzer": "char_wb", "ngram_range": (3, 5)}, 8),
    ]
    with open(os.path.join(folder, "tfidf.json"), "w") as f:
        json.dump({"scikit-learn": sklearn.__version__, "texts": documents, "cases": cases}, f, ensure_ascii=False)


main(sys.argv[1])
