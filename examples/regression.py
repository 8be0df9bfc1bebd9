"""Predicts a number from a DataFrame, in its own units.

python examples/regression.py
"""

import tempfile

from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

import model_search


def main():
    x, y = load_diabetes(return_X_y=True, as_frame=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        study = model_search.fit(
            x_train, y_train, number_models=5, train_steps=200, root_dir=folder, experiment_name="diabetes", seed=1
        )
        study.print_leaderboard()
        print(study.predict(x_test)[:5])
        print(study.evaluate((x_test, y_test)))
        study.close()


if __name__ == "__main__":
    main()
