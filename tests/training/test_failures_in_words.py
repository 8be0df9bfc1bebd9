import pytest

from model_search.errors import TrialError, UserError
from model_search.training.failures import plain_words


def words_of(error):
    with pytest.raises(TrialError) as caught, plain_words("training failed"):
        raise error
    assert caught.value.__cause__ is error
    return str(caught.value)


def test_whatever_a_model_raises_becomes_a_sentence():
    assert words_of(KeyError("x")) == "training failed: KeyError: 'x'"
    assert words_of(MemoryError()) == "training failed: there is not enough memory for it"


def test_the_noise_of_graph_errors_is_left_out():
    text = "Matrix size-incompatible: In[0]: [8,3]\n\t [[{{node tower/0_X/MatMul}}]] [Op:__inference_x_12] name: "
    assert words_of(ValueError(text)) == "training failed: ValueError: Matrix size-incompatible: In[0]: [8,3]"
    assert len(words_of(ValueError("long " * 500))) < 500


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(2), UserError("given wrong"), TrialError("its own")])
def test_interrupts_and_errors_of_our_own_pass(error):
    with pytest.raises(type(error)) as caught, plain_words("training failed"):
        raise error
    assert caught.value is error
