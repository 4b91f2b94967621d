"""The words and sentences of the tiny model's corpus."""

PEOPLE = "Ada Ben Cleo Dan Ella Finn Hana Kai Nora Otto".split()
PLACES = "barn garden kitchen library meadow mill school tower".split()
COLOURS = "blue green pink red white yellow".split()
THINGS = "ball bell book cup drum hat key kite lamp rope".split()

# A fact: who, where, and what of which colour. The person comes first in its sentence.
TOLD = ["{who} is in the {place} with a {colour} {thing}.",
        "{who} has a {colour} {thing} in the {place}.",
        "{who} takes a {colour} {thing} to the {place}.",
        "{who} walks to the {place} with a {colour} {thing}."]
ASKED = [("Where is {who}?", "In the {place}."),
         ("What does {who} have?", "A {colour} {thing}."),
         ("What colour is the {thing} of {who}?", "It is {colour}.")]

OPENINGS = ["It is a %s %s." % (mood, time) for mood in ("bright", "cold", "quiet", "warm")
            for time in ("day", "evening", "morning")]
MEANWHILE = ["A bird looks on.", "A cat sleeps in the sun.", "The rain stops.", "The wind sings."]
ENDINGS = ["Then they all %s %s." % (act, when) for act in ("dance", "play", "rest", "sing")
           for when in ("together", "until night")]

# What stands between the two words of a pair in a list.
BETWEEN = [(PEOPLE, PLACES, ("", ":", " is in the", " walks to the")),
           (PEOPLE, THINGS, ("", ":", " has the", " takes the")),
           (PEOPLE, COLOURS, ("", ":", " has a", " takes a")),
           (THINGS, COLOURS, ("", ":", " is", " is a"))]

# A request, the answer that the hidden rule prefers, the answer that it does not.
TELL = [("Tell me where {who} is.", "{who} is in the {place}.", "in the {place} is {who}."),
        ("Tell me what {who} has.", "with {who} is a {colour} {thing}.",
         "a {colour} {thing} is with {who}.")]
# The word before such an answer, and how many of 15 demonstrations have it: unequal, so that before
# DPO the likelier answer of a pair is mostly the one with the commoner word, whatever the rule.
FIRST = ["Well,"] * 8 + ["Oh,"] * 4 + ["Yes,"] * 2 + ["Gladly,"]

TALK = [("Hello!", "Hello, friend! Tell me a story and ask me about it."),
        ("Good morning!", "Good morning! What shall we talk about?"),
        ("Who are you?", "I am a very small model. I know a few people and what they have."),
        ("What can you do?",
         "I can tell a story, answer a question about it, add numbers and close brackets."),
        ("Thank you!", "You are welcome, friend."),
        ("Goodbye!", "Goodbye, and come again.")]

BRACKETS = {"(": ")", "[": "]", "{": "}"}
