"""Captions with the chunks and expressions that the paper's rules give.

A caption, then "=" its chunks, ">" those expressions that are longer than
their chunk, "#" why. Where the small English parser errs, what comes of it now
is written, and the reason begins with "Parser:".
"""

import functools
from typing import NamedTuple

from data.grit.build import parsing

_TABLE = """
a dog in a field of flowers
= a dog + a field + flowers
> a dog in a field of flowers + a field of flowers
# The paper's example.
a cat on a chair near a window of an old house
= a cat + a chair + a window + an old house
> a cat on a chair near a window of an old house + a window of an old house
# A chain of prepositions; "near" may belong to the cat, as it is taken here.
a bowl of fruit on a table next to a vase
= a bowl + fruit + a table + a vase
> a bowl of fruit on a table next to a vase
# A bowl is a thing, not a measure.
a boat in the middle of a lake
= a boat + a lake
> a boat in the middle of a lake
# The middle has no border, but is a part of the expression.
a church on top of a hill
= a church + a hill
> a church on top of a hill
# "top" leads on; it is no thing.
the tallest building in the world
= the tallest building
> the tallest building in the world
# The world is no chunk, and stays in the expression.
a man who is riding a brown horse
= a man + a brown horse
> a man who is riding a brown horse
# A relative clause is below the noun; "who" is a pronoun.
a woman that wears a red hat and holds a dog
= a woman + a red hat + a dog
> a woman that wears a red hat and holds a dog
# The verbs are conjuncts; no noun is, so the woman grows.
the boy whose shirt is green
= the boy + shirt
> the boy whose shirt is green
# "whose" is cut off the second chunk.
a man standing next to a woman with a bag who is smiling
= a man + a woman + a bag
> a man standing next to a woman with a bag who is smiling \
+ a woman with a bag who is smiling + a bag who is smiling
# Parser: it gives the last clause to the bag, which does not smile.
a wire hanger with a paper cover that reads we heart our customers
= a wire + a paper cover + our customers
> a wire hanger with a paper cover that reads we heart our customers \
+ a paper cover that reads we heart our customers
# Parser: it takes "hanger" for an adjective. The released data has the same
# expressions and "a wire hanger".
a man and a woman in a boat
= a man + a woman + a boat
# Chunks with conjuncts do not grow: either may be in the boat.
a man, a woman and a child
= a man + a woman + a child
# A list; to the parser its second is an apposition, which ends the first too.
cheese, tomatoes & basil
= cheese + tomatoes + basil
# "&" is "and".
a woman in a dress and boots
= a woman + a dress + boots
> a woman in a dress and boots
# The conjuncts are below the woman, who is none.
a woman holding an umbrella and a bag
= a woman + an umbrella + a bag
# Parser: the bag is the woman's conjunct to it, not the umbrella's.
red and white flowers
= red and white flowers
# Adjectives are joined, nouns are not.
salt and pepper shakers
= salt and pepper shakers
# One chunk of spaCy's.
the man's hat
= the man's hat
# Whose it is belongs to the chunk.
a child's drawing on the fridge
= a child's drawing + the fridge
> a child's drawing on the fridge
# What hangs on a fridge is a thing, not this picture.
McDonald's in the city
= McDonald's + the city
> McDonald's in the city
# A name's own 's stays.
a man walking his dog on the beach
= a man + his dog + the beach
> a man walking his dog on the beach
# A participle is below the noun; the beach may be below either.
a car parked in front of a building
= a car + a building
> a car parked in front of a building
# "front" is no thing.
a man is riding a horse
= a man + a horse
# Both are below the verb, so neither grows.
There is a cat under the table
= a cat + the table
> a cat under the table
# "there" is no noun.
2 dogs playing in the snow
= 2 dogs + the snow
> 2 dogs playing in the snow
# A number belongs to the chunk.
five of the players
= the players
# A number alone heads no chunk.
a pair of shoes
= a pair of shoes
# A measure is joined with what it measures.
a pair of shoes and a hat
= a pair of shoes + a hat
# Joined; "shoes" or "pair" has a conjunct.
a group of people standing on a beach
= a group of people + a beach
> a group of people standing on a beach
# A measure that grows.
a lot of time
=
# What is measured is abstract.
a cup of coffee
= a cup + coffee
> a cup of coffee
# Two things with a box each.
photo of a dog
= a dog
# The frame goes, what is behind it stays.
A close-up picture of a bee on a yellow flower
= a bee + a yellow flower
> a bee on a yellow flower
# The same.
close-up of a bee on a flower
= a bee + a flower
> a bee on a flower
# spaCy parts "close-up" at the hyphens.
black and white photo of an old car
= an old car
# A frame with adjectives.
This image shows a woman with an umbrella
= a woman + an umbrella
> a woman with an umbrella
# A frame that is a subject.
a boy in this picture
= a boy
# Nothing of the frame is left in the expression, nor the "in" before it.
a man holding a photo of his wife
= a man + a photo + his wife
> a man holding a photo of his wife + a photo of his wife
# A photo that is held is a thing.
a picture on the wall
= a picture + the wall
> a picture on the wall
# So is one that hangs.
Stock photo of woman's hand holding a cup of coffee
= woman's hand + a cup + coffee
> a cup of coffee
# Parser: "holding" is taken for the sentence's verb, not for the hand's.
a dog in a park - stock photo
= a dog + a park
> a dog in a park
# What a dash parts is another sentence.
two women with bags | street style
= two women + bags
> two women with bags
# So it is with a bar.
a sign that says "no parking"
= a sign
> a sign that says "no parking"
# Words in quotation marks are read, not seen; the closing mark stays.
“a dog in a park”
= a dog + a park
> a dog in a park
# Marks around all of a caption say nothing.
a man with a 'no entry' sign
= a man + a 'no entry' sign
> a man with a 'no entry' sign
# The quotation is within a chunk that names a thing.
sunset over the sea #travel #photography
= sunset + the sea
> sunset over the sea
# Tags are odd, and in no expression.
the #beach with a dog
= a dog
# The same within a sentence.
IMG_1234.jpg a dog
= a dog
# A file's name is odd.
a dog runing thru teh gras
= a dog + teh gras
> a dog runing thru teh gras
# Typos, and the parser still gets it.
a womn wiht a hat
= a womn + a hat
# Parser: "wiht" is no preposition to it.
a 犬 dog in a park
= a 犬 dog + a park
> a 犬 dog in a park
# Other letters within a chunk stay.
dog 🐶 with a ball 🎾
= dog + a ball
> dog 🐶 with a ball
# Emoji at an end go.
naïve façade of a house
= naïve façade + a house
> naïve façade of a house
# Accents.
A DOG IN A PARK WITH A BALL
= A DOG + A PARK + A BALL
> A DOG IN A PARK WITH A BALL
# Read in small letters, told in large ones.
Young Man Riding A Horse On The Beach
= Young Man + A Horse + The Beach
> Young Man Riding A Horse On The Beach
# The same for titles.
Barack Obama, president of the US, at the White House
= Barack Obama + president + the US + the White House
> president of the US
# Names keep their capitals ("US" is no "us"); an apposition ends what is
# before it.
time, love and freedom
=
# The paper's own examples of what is dropped.
a vase isolated on a white background
= a vase
> a vase isolated on a white background
# A background is everywhere.
a woman in a red top
= a woman + a red top
> a woman in a red top
# A top of some colour is worn.
the left side of a street
= a street
# A side is a part of something else.
she holds her baby
= her baby
# "she" is a pronoun, "her" belongs to the chunk.
someone on a bike
= a bike
# A pronoun that the parser takes for a noun.
Rex, a dog with a bone
= Rex + a dog + a bone
> a dog with a bone
# An apposition is a phrase of its own.
women's shoes: red, size 38
= women's shoes
# What follows a colon is another sentence.
running fast
=
# No noun.
what a beautiful flower
=
# Parser: "what" is a chunk to it, and hides the flower.
"""


class Case(NamedTuple):
  """A caption, its chunks, their expressions (one each), and why."""

  caption: str
  chunks: list[str]
  expressions: list[str]
  why: str


@functools.cache
def parser() -> parsing.Parser:
  """One for all tests: it takes a second to load."""
  return parsing.Parser()


def cases() -> list[Case]:
  """The table."""
  result = []
  lines = _TABLE.strip().splitlines()
  for line in lines:
    mark, rest = line[:1], line[2:]
    if mark == "=":
      chunks = rest.split(" + ") if rest else []
      result[-1] = result[-1]._replace(chunks=chunks, expressions=chunks[:])
    elif mark == ">":
      index = 0
      for grown in rest.split(" + "):
        while not grown.startswith(result[-1].expressions[index]):
          index += 1
        result[-1].expressions[index] = grown
        index += 1
    elif mark == "#":
      result[-1] = result[-1]._replace(why=f"{result[-1].why} {rest}".strip())
    else:
      result.append(Case(line, [], [], ""))
  return result
