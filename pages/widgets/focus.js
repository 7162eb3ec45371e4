// Puts the keyboard into the field that has just appeared, once: data.key is the class Streamlit gives its container.
export default function ({ data }) {
  const field = document.querySelector(`.st-key-${data.key} input`);
  if (field) field.focus();
}
