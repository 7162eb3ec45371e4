"""SQL: a statement's rows, its mistakes as sentences, and nothing run by a link alone."""

from tests.pages.conftest import words


def test_a_statement_is_run_when_it_is_asked_for(published, open_page):
    app = open_page(published, "sql", run="synthetic-1500", q="SELECT count(*) AS n FROM scores")
    assert len(app.dataframe) == 1  # the tables alone: a link runs nothing
    app.button(key="run").click().run()
    assert app.dataframe[0].value["n"].tolist() == [1500]
    app.text_area[0].set_value("SELECT 1 AS one").run()
    assert "n" not in app.dataframe[0].value  # the old answer belongs to another statement


def test_a_mistake_is_a_sentence(published, open_page):
    app = open_page(published, "sql", run="synthetic-1500", q="DROP TABLE scores")
    app.button(key="run").click().run()
    assert not app.exception
    assert "write one SELECT" in words(app)
