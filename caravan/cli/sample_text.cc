#include "caravan/cli/sample_text.h"

namespace caravan::cli {

std::string_view sample_text() {
  return R"text(The ferry to the island left at six in the morning, before the fog had lifted from the harbour. There were only four passengers: an old man with a basket of onions, two students who had not slept, and Clara, who had promised her sister that she would be there in time for the wedding. The captain looked at his watch, looked at the water, and decided that the fog would not get any better. He pulled the rope, the bell rang twice, and the engine began to turn.

"You picked a fine day for it," said the old man.

"I did not pick it," Clara answered. "My sister did. She has always liked weather that nobody else likes."

The old man laughed. He took an onion out of the basket, weighed it in his hand as if he were thinking of selling it to her, and put it back. "My wife was the same," he said. "When it rained, she opened all the windows. She said that the house had to drink, too."

After an hour the sun came through. The sea turned from grey to green, and behind them the town became a thin white line, with the tower of the church in the middle of it. The students woke up and asked whether there was any coffee. There was not, but the captain had tea, and he shared it with everyone, in cups that did not match.

How do tides work? Twice a day, on most coasts, the sea rises and falls. The main cause is the Moon. Its gravity pulls more strongly on the side of the Earth that faces it, and less strongly on the side that faces away; the difference stretches the oceans into two bulges, one on each side. As the Earth turns, a place on the coast passes through both bulges in about twenty-four hours and fifty minutes, because the Moon itself moves along its orbit in the meantime. The Sun has the same effect, but since it is so much farther away, its share is less than half of the Moon's. When the Sun and the Moon pull along the same line, at new moon and at full moon, the tides are highest; these are called spring tides. A week later, when they pull at right angles, the range is smallest. The shape of the sea floor does the rest: in a narrow bay the water can rise by more than ten metres, while in the middle of the ocean it is less than one.

To make a simple bread you need 500 grams of flour, 350 grams of water, 10 grams of salt and 3 grams of dry yeast. Mix the flour and the water and let them rest for half an hour. Then add the salt and the yeast and knead the dough for ten minutes, until it is smooth and no longer sticks to the table. Cover it with a cloth and wait until it has doubled in size, which takes about two hours in a warm kitchen and a whole night in a cold one. Shape it into a loaf, let it rise once more, cut the top with a sharp knife, and bake it at 230 degrees for 35 minutes. The bread is done when it sounds hollow if you knock on the bottom. Let it cool before you cut it, even if that is the hardest part.

The following function returns the greatest common divisor of two numbers. It uses Euclid's algorithm, which is more than two thousand years old:

def gcd(a, b):
    while b != 0:
        a, b = b, a % b
    return abs(a)

For example, gcd(48, 36) is 12. In each step the remainder is smaller than the divisor, so the loop must end; and since every common divisor of a and b also divides the remainder, the greatest one never changes on the way. The number of steps grows only with the number of digits, which makes the algorithm fast even for very large numbers.

In 1869 the chemist Dmitri Mendeleev arranged the known elements by their atomic weight and saw that their properties came back at regular intervals. Others had noticed such patterns before him, but Mendeleev did something that took courage: where no known element fitted, he left a gap, and he described what would be found there. He predicted the weight, the density and the melting point of three unknown elements. Within seventeen years all three had been discovered, and they were very much as he had said. What he could not know was the reason. It was found only in the twentieth century, when physicists learned that an atom has a nucleus with a certain number of protons, and that the electrons around it are arranged in shells.

The meeting of the town council began a little late. The mayor thanked everybody for coming and read the first item on the list: the bridge over the river, which had been closed since the flood in March. According to the engineers, repairing it would cost about two million, a new one almost five. "The new one would last for eighty years," said the engineer, "the old one perhaps for twenty. If you divide the price by the years, the new bridge is cheaper." A woman in the last row raised her hand. She had a bakery on the other side of the river, she said, and since March she had lost half of her customers. She did not care whether the bridge was new or old. She cared about when it would be open. There was applause. The mayor wrote something down, and then he asked the engineer how long each of them would take.

Good advice is often short. Write down what you want to remember. Measure before you cut. If you are tired, do not decide anything important. When two people tell you the same thing, it may be true; when everybody tells you the same thing, ask where they have heard it. Be kind to people who make mistakes, because tomorrow it will be your turn. And if a machine does not work, first find out whether it is plugged in.

In the evening the whole island came to the wedding. There were long tables under the olive trees, and lamps in the branches, and a band of three musicians who knew only eleven songs but played them as if there were no others in the world. Clara's sister wore their grandmother's dress. When it was time for the speeches, the wind rose, and a few drops of rain fell on the white tablecloths. Everybody looked up. Nobody moved. Then the bride began to laugh, and she spread her arms, and she said: "Open the windows."
)text";
}

}  // namespace caravan::cli
